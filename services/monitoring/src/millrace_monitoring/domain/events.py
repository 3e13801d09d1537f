"""What monitoring hears and says. `id` of what it hears is the message's; `id` of what it says is derived from that."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from millrace_kernel.ids import EventId, ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.profile import ReferenceProfile
from millrace_kernel.time import Instant


class Role(StrEnum):
    """Whose answer a prediction is."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    FALLBACK = "fallback"
    REQUEST = (
        "request"  # the champion's, to a request over HTTP: not an event, so it never gets a label
    )


class Kind(StrEnum):
    """What can be beyond its bounds."""

    DATA = "data"
    PREDICTION = "prediction"
    CONCEPT = "concept"
    PERFORMANCE = "performance"
    QUALITY = "quality"


class Verdict(StrEnum):
    """What a comparison says of a challenger."""

    UNDECIDED = "undecided"
    BETTER = "better"
    WORSE = "worse"
    SLOW = "slow"  # beyond the file's limit
    FAILING = "failing"  # beyond the file's limit


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class PipelineApplied:
    """`earlier`: versions of the file that events may still name."""

    pipeline: Pipeline
    earlier: tuple[Pipeline, ...]


@dataclass(frozen=True, slots=True)
class PredictionMade:
    """`answer` is the value, the positive class's probability or the class, by the label's kind; None: none was possible."""

    id: str
    pipeline: PipelineName
    pipeline_version: int  # names the columns of the vector
    event_id: EventId
    event_time: Instant
    recorded_at: Instant
    model_version: ModelVersionNumber
    epoch: int
    role: Role
    answer: float | str | None
    numbers: tuple[float, ...]
    categories: tuple[str, ...]
    trial: int = 0  # that it was made in; 0: none
    seconds: float = 0.0  # of scoring; 0: not measured


@dataclass(frozen=True, slots=True)
class LabelObserved:
    """`truth` is a number, or for multiclass the class."""

    id: str
    pipeline: PipelineName
    event_id: EventId
    recorded_at: Instant
    truth: float | str


@dataclass(frozen=True, slots=True)
class LabelRetracted:
    id: str
    pipeline: PipelineName
    event_id: EventId


@dataclass(frozen=True, slots=True)
class ModelPromoted:
    """A version is the champion from now on."""

    id: str
    pipeline: PipelineName
    version: ModelVersionNumber
    epoch: int
    profile: ReferenceProfile


@dataclass(frozen=True, slots=True)
class ModelRolledBack:
    """An earlier version is the champion again."""

    id: str
    pipeline: PipelineName
    version: ModelVersionNumber
    epoch: int
    profile: ReferenceProfile


@dataclass(frozen=True, slots=True)
class ChallengerStarted:
    """A version is compared with the champion from now on, or answers a larger share of the entities."""

    id: str
    pipeline: PipelineName
    version: ModelVersionNumber
    trial: int
    step: int
    epoch: int
    champion_version: ModelVersionNumber
    learnt_until: Instant  # labels known by then may have been learnt from


@dataclass(frozen=True, slots=True)
class ChallengerEnded:
    """A version was rejected or retired, or waits for a person: if it was the challenger, its trial is over."""

    pipeline: PipelineName
    version: ModelVersionNumber


@dataclass(frozen=True, slots=True)
class DriftDetected:
    """A column, the prediction or the error left its bounds. `also`: the others of its kind now beyond theirs, and how far."""

    id: str
    pipeline: PipelineName
    kind: Kind
    subject: str
    method: str
    statistic: float
    threshold: float
    model_version: ModelVersionNumber
    window_start: Instant
    window_end: Instant
    window_events: int
    reference_mean: float  # 0 for a category
    window_mean: float
    also: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DriftCleared:
    id: str
    pipeline: PipelineName
    kind: Kind
    subject: str
    method: str
    statistic: float
    threshold: float
    model_version: ModelVersionNumber


@dataclass(frozen=True, slots=True)
class PerformanceDegraded:
    id: str
    pipeline: PipelineName
    metric: str
    value: float
    bound: float
    reference: float
    model_version: ModelVersionNumber
    window_start: Instant
    window_end: Instant
    window_events: int


@dataclass(frozen=True, slots=True)
class DataQualityViolated:
    id: str
    pipeline: PipelineName
    column: str
    rule: str
    value: float
    threshold: float
    window_events: int


@dataclass(frozen=True, slots=True)
class ChallengerCompared:
    """A challenger held against the champion on the same labelled events. `difference`, `lower` and `upper` are of the mean
    of the champion's loss less the challenger's, in the loss's own unit: above 0 the challenger is better."""

    id: str
    pipeline: PipelineName
    champion_version: ModelVersionNumber
    challenger_version: ModelVersionNumber
    metric: str
    champion_value: float
    challenger_value: float
    events: int
    trial: int
    step: int
    epoch: int
    step_events: int
    loss: str
    difference: float
    lower: float
    upper: float
    confidence: float
    verdict: Verdict
    champion_seconds: float
    challenger_seconds: float
    champion_errors: float
    challenger_errors: float


@dataclass(frozen=True, slots=True)
class AlertRaised:
    pipeline: PipelineName
    fingerprint: str
    severity: Severity
    summary: str
    cause_id: str


@dataclass(frozen=True, slots=True)
class AlertResolved:
    pipeline: PipelineName
    fingerprint: str
    cause_id: str


Said = DriftDetected | DriftCleared | PerformanceDegraded | DataQualityViolated | ChallengerCompared
Event = Said | AlertRaised | AlertResolved
