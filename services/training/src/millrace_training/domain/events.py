"""What training hears and what it says, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from millrace_kernel.evidence import NO_EVIDENCE, Evidence
from millrace_kernel.ids import EntityId, EventId, ModelVersionNumber, PipelineName, RunId
from millrace_kernel.pipeline import Pipeline, Trigger
from millrace_kernel.time import Instant
from millrace_training.domain.costs import Cost

LabelValue = float | str  # regression: the value; binary: 0.0 or 1.0; multiclass: the class


class Place(NamedTuple):
    """Where an event stood in its topic: what makes storing it twice visible."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class PipelineApplied:
    """A pipeline file is in force. `versions` holds it last, after the earlier ones that events may still name."""

    pipeline: PipelineName
    versions: tuple[Pipeline, ...]


@dataclass(frozen=True, slots=True)
class FeaturesComputed:
    """One vector, in the column order that `pipeline_version` fixes. NaN and "" mean missing."""

    pipeline: PipelineName
    pipeline_version: int
    event_id: EventId
    entity: EntityId
    event_time: Instant
    numbers: tuple[float, ...]
    categories: tuple[str, ...]
    recorded_at: Instant
    place: Place


@dataclass(frozen=True, slots=True)
class LabelObserved:
    """The truth about one event, or a correction of it: of several, the one known last counts."""

    pipeline: PipelineName
    event_id: EventId
    known_at: Instant
    value: LabelValue
    recorded_at: Instant
    place: Place


@dataclass(frozen=True, slots=True)
class LabelRetracted:
    """The label of one event was wrong and has no successor yet."""

    pipeline: PipelineName
    event_id: EventId
    known_at: Instant
    recorded_at: Instant
    place: Place


@dataclass(frozen=True, slots=True)
class DriftDetected:
    pipeline: PipelineName
    subject: str  # what changed: "data/temp", "prediction", "concept"
    because: str  # the evidence, in words
    recorded_at: Instant
    since: Instant | None = None  # event time at which the change is estimated to have begun


@dataclass(frozen=True, slots=True)
class DriftCleared:
    pipeline: PipelineName
    subject: str
    recorded_at: Instant


@dataclass(frozen=True, slots=True)
class PerformanceDegraded:
    pipeline: PipelineName
    subject: str  # "performance/mae"
    because: str
    recorded_at: Instant
    since: Instant | None = None  # event time of the first answer that was that bad


@dataclass(frozen=True, slots=True)
class Retrain:
    """A person asks for a run."""

    pipeline: PipelineName
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class PausePipeline:
    """A person stops the deciding, or lets it go on."""

    pipeline: PipelineName
    paused: bool


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that answers: where it is kept, and the pipeline file that it was trained by."""

    version: ModelVersionNumber
    epoch: int
    pipeline_version: int
    artifact_uri: str
    artifact_sha256: str
    run_id: str = ""
    artifact_signature: bytes = b""  # empty: promoted before models were signed
    signing_key_id: str = ""
    algorithm: str = ""  # the kind of model; empty: heard of before that was remembered


@dataclass(frozen=True, slots=True)
class ModelPromoted:
    pipeline: PipelineName
    champion: Champion


@dataclass(frozen=True, slots=True)
class ModelRolledBack:
    pipeline: PipelineName
    champion: Champion


@dataclass(frozen=True, slots=True)
class ModelRejected:
    pipeline: PipelineName
    run_id: RunId


class Skip(StrEnum):
    """Why no training was decided on."""

    NOT_A_TRIGGER = "not_a_trigger"
    PAUSED = "paused"
    ALREADY_TRAINING = "already_training"
    COOLING_DOWN = "cooling_down"
    BUDGET_SPENT = "budget_spent"
    TOO_FEW_LABELS = "too_few_labels"
    UNPROMISING = "unpromising"  # by what the last runs gained
    NOT_UPDATABLE = "not_updatable"  # no update goes on with a champion like this one


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that asks for a training, at a time of the pipeline's own clock."""

    trigger: Trigger
    id: str  # the event that asks
    at: Instant
    subject: str  # what it is about; one that asks again about the same takes the place of the one before
    because: str  # in words
    since: Instant | None = None  # event time at which what it is about is estimated to have begun


@dataclass(frozen=True, slots=True)
class Run:
    """One training attempt, as it was decided on. It learns from what was known by `as_of`."""

    pipeline: PipelineName
    run_id: RunId
    number: int  # 1, 2, … within the pipeline
    pipeline_version: int
    trigger: Trigger
    cause_id: str
    as_of: Instant


@dataclass(frozen=True, slots=True)
class RetrainRequested:
    run: Run
    cause: Cause
    labelled: int  # rows that could be learnt from when it was decided
    detail: str  # why, in words, with the numbers


@dataclass(frozen=True, slots=True)
class RetrainSkipped:
    pipeline: PipelineName
    cause: Cause
    reason: Skip
    detail: str
    labelled: int = 0  # rows that could be learnt from when it was decided; 0: not counted
    pipeline_version: int = 0  # of the file whose policy decided; 0: none is known


@dataclass(frozen=True, slots=True)
class Dataset:
    """An immutable file of labelled rows, and the versions of the lake's tables that it was taken from."""

    uri: str
    sha256: str
    size: int
    rows: int
    vectors_version: int
    labels_version: int
    first_event_time: Instant
    last_event_time: Instant


@dataclass(frozen=True, slots=True)
class Trial:
    number: int  # 1, 2, …
    algorithm: str
    parameters_json: str
    metrics: Mapping[str, float]
    cpu_seconds: float
    loss: float = 0.0  # what the search ranks by; over the folds that it came through
    state: str = "complete"  # complete, pruned, failed
    kept: str = ""  # what a search that goes on needs to know of it, as JSON


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a run ends with: a model, how good it is, and how good the champion is on the same rows."""

    algorithm: str
    parameters_json: str
    artifact_uri: str
    artifact_sha256: str
    artifact_signature: bytes  # training's own, over pipeline, version of the file, run and digest
    signing_key_id: str
    train_rows: int
    holdout_rows: int
    metrics: Mapping[str, float]
    champion_metrics: Mapping[str, float]
    champion_version: int  # 0: compared with none
    better_probability: float
    reference_profile: bytes
    fit_seconds: float
    cpu_seconds: float
    notes: tuple[str, ...] = ()  # what a person should know of it
    record_json: str = ""  # what it takes to make the same artifact again: see docs/training.md
    cost: Cost | None = None  # of the whole run; None: it was not measured
    points: float | None = None  # better than the champion by: see `domain.costs.points_gained`
    evidence: Evidence = NO_EVIDENCE  # what gates judge beside the metrics
    card_due: bytes = b""  # what its model card is to be made from; empty: it gets none


@dataclass(frozen=True, slots=True)
class RunStarted:
    """From the runner: the dataset is taken, the fit begins."""

    run: Run
    dataset: Dataset


@dataclass(frozen=True, slots=True)
class RunTried:
    """From the runner: one trial of the run's search ended. It won't be repeated, whatever befalls the run."""

    run: Run
    trial: Trial


@dataclass(frozen=True, slots=True)
class RunFinished:
    """From the runner: there is a candidate."""

    run: Run
    dataset: Dataset
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class RunFailed:
    """From the runner: there will be no candidate."""

    run: Run
    reason: str  # what went wrong, and what to do
    cpu_seconds: float
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class RunSkipped:
    """From the runner: the dataset turned out too small to learn from."""

    run: Run
    rows: int
    needed: int


@dataclass(frozen=True, slots=True)
class CardMade:
    """From the card maker: a finished run's candidate has its model card."""

    run: Run
    uri: str
    sha256: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class CardFailed:
    """From the card maker: the candidate stays without a card."""

    run: Run
    reason: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class TrainingStarted:
    run: Run
    dataset: Dataset


@dataclass(frozen=True, slots=True)
class TrialCompleted:
    run: Run
    trial: Trial


@dataclass(frozen=True, slots=True)
class TrainingCompleted:
    run: Run
    dataset: Dataset
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class TrainingFailed:
    run: Run
    reason: str
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class ModelCardMade:
    run: Run
    uri: str
    sha256: str
    cost: Cost


Decision = RetrainRequested | RetrainSkipped
Event = (
    Decision | TrainingStarted | TrialCompleted | TrainingCompleted | TrainingFailed | ModelCardMade
)
RunOutcome = RunFinished | RunFailed | RunSkipped
CardOutcome = CardMade | CardFailed
