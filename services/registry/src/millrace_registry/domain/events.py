"""What the registry hears and what it says, as values.

What is heard carries the id and the recorded time of its message: the one makes doing it twice visible, the other is
the only time that the registry knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from millrace_kernel.evidence import NO_EVIDENCE, Evidence
from millrace_kernel.ids import ModelVersionNumber, PipelineName, RunId
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant

NO_MODEL = ModelVersionNumber(0)


@dataclass(frozen=True, slots=True)
class ApplyPipeline:
    """Let this file be in force, if it says anything new. `after` is the version that it was held against."""

    file: Pipeline
    digest: str
    after: int
    at: Instant


@dataclass(frozen=True, slots=True)
class TrainingCompleted:
    """A run ended with a candidate. `champion_version` is what it was compared with on the same holdout; 0: nothing."""

    pipeline: PipelineName
    pipeline_version: int
    run_id: RunId
    run_number: int
    trigger: str
    cause_id: str
    algorithm: str
    parameters_json: str
    artifact_uri: str
    artifact_sha256: str
    artifact_signature: bytes
    signing_key_id: str
    dataset_uri: str
    dataset_sha256: str
    train_rows: int
    holdout_rows: int
    metrics: Mapping[str, float]
    champion_metrics: Mapping[str, float]
    champion_version: ModelVersionNumber
    better_probability: float
    reference_profile: bytes
    fit_seconds: float
    cpu_seconds: float
    as_of: Instant
    id: str
    at: Instant
    evidence: Evidence = NO_EVIDENCE  # for the gates; what they made of it is kept in the verdicts


@dataclass(frozen=True, slots=True)
class ModelCardMade:
    """A candidate's model card is there; it comes after the candidate."""

    pipeline: PipelineName
    run_id: RunId
    run_number: int
    uri: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ApprovePromotion:
    """A person lets a version become the champion; version 0 is the newest one that waits."""

    pipeline: PipelineName
    version: ModelVersionNumber
    actor: str
    reason: str
    id: str
    at: Instant


@dataclass(frozen=True, slots=True)
class RejectPromotion:
    """A person turns a waiting version down; version 0 is the newest one that waits."""

    pipeline: PipelineName
    version: ModelVersionNumber
    actor: str
    reason: str
    id: str
    at: Instant


@dataclass(frozen=True, slots=True)
class RollBack:
    """A person lets an earlier version answer again; version 0 is the champion before this one."""

    pipeline: PipelineName
    version: ModelVersionNumber
    actor: str
    reason: str
    id: str
    at: Instant


@dataclass(frozen=True, slots=True)
class PausePipeline:
    """A person stops the promoting, or lets it go on."""

    pipeline: PipelineName
    paused: bool
    actor: str
    reason: str
    id: str
    at: Instant


@dataclass(frozen=True, slots=True)
class Retrain:
    """A person asks for a run: passed on over HTTP, and training's to answer."""

    pipeline: PipelineName
    actor: str
    reason: str
    id: str
    at: Instant


@dataclass(frozen=True, slots=True)
class DeploymentFailed:
    """Serving could not load the version of this epoch."""

    pipeline: PipelineName
    version: ModelVersionNumber
    epoch: int
    instance: str
    reason: str
    id: str
    at: Instant
    trial: int = 0  # of a challenger that failed; 0: the version was promoted


class Comparison(StrEnum):
    """What is known of a challenger against the champion."""

    UNDECIDED = "undecided"
    BETTER = "better"
    WORSE = "worse"
    SLOW = "slow"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class ChallengerCompared:
    """Monitoring held a challenger against the champion on the same labelled events. `lower` and `upper` bound the mean
    of the champion's loss less the challenger's, at all times together with probability `confidence`."""

    pipeline: PipelineName
    version: ModelVersionNumber
    champion: ModelVersionNumber
    trial: int
    step: int
    verdict: Comparison
    events: int
    step_events: int
    loss: str
    difference: float
    lower: float
    upper: float
    confidence: float
    seconds: float  # the challenger's, of scoring one event
    errors: float  # share of events that the challenger left without an answer
    id: str
    at: Instant


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says of a candidate, and the numbers it rests on, in words."""

    gate: str
    passed: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """An immutable registered candidate: its number, and the run that it came from."""

    version: ModelVersionNumber
    training: TrainingCompleted

    @property
    def pipeline(self) -> PipelineName:
        return self.training.pipeline


@dataclass(frozen=True, slots=True)
class PipelineApplied:
    """The file is in force from here on. `earlier` holds the versions that events may still name, oldest first."""

    file: Pipeline
    digest: str
    earlier: tuple[Pipeline, ...]

    @property
    def pipeline(self) -> PipelineName:
        return self.file.name


@dataclass(frozen=True, slots=True)
class ModelRegistered:
    model: ModelVersion

    @property
    def pipeline(self) -> PipelineName:
        return self.model.pipeline


@dataclass(frozen=True, slots=True)
class ModelRejected:
    """Version 0: it was not even registered, because no trusted key has signed it."""

    pipeline: PipelineName
    version: ModelVersionNumber
    run_id: RunId
    reason: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class CandidateQueued:
    """It passed every gate and is to be compared with the champion. Kept, not published: what follows is."""

    pipeline: PipelineName
    version: ModelVersionNumber
    verdicts: tuple[Verdict, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A comparison of one challenger with one champion. `share` is in per cent of the entities; 0: it answers nobody."""

    number: int
    step: int
    version: ModelVersionNumber
    champion: ModelVersionNumber
    epoch: int
    share: float
    since: Instant  # vectors recorded since then are scored
    started: Instant


@dataclass(frozen=True, slots=True)
class ChallengerStarted:
    """A trial begins, or goes on with a larger share."""

    model: ModelVersion
    trial: Trial
    reason: str

    @property
    def pipeline(self) -> PipelineName:
        return self.model.pipeline

    @property
    def version(self) -> ModelVersionNumber:
        return self.model.version


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    pipeline: PipelineName
    version: ModelVersionNumber
    verdicts: tuple[Verdict, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ModelPromoted:
    """A version becomes the champion: by itself because it passed every gate, or because a person said so."""

    model: ModelVersion
    epoch: int
    previous: ModelVersionNumber
    verdicts: tuple[Verdict, ...]
    approved_by: str | None
    reason: str

    @property
    def pipeline(self) -> PipelineName:
        return self.model.pipeline


@dataclass(frozen=True, slots=True)
class ModelRolledBack:
    """An earlier version answers again; `previous` is the one that no longer does."""

    model: ModelVersion
    epoch: int
    previous: ModelVersionNumber
    actor: str | None
    reason: str

    @property
    def pipeline(self) -> PipelineName:
        return self.model.pipeline


@dataclass(frozen=True, slots=True)
class ModelRetired:
    """A version will never answer again; its artifact may be deleted."""

    pipeline: PipelineName
    version: ModelVersionNumber
    reason: str


@dataclass(frozen=True, slots=True)
class PromotionsPaused:
    """Kept, not published: who asked has said so on the topic of commands already."""

    pipeline: PipelineName
    paused: bool


Command = ApprovePromotion | RejectPromotion | RollBack | PausePipeline | Retrain
Change = (
    ModelRegistered
    | ModelRejected
    | CandidateQueued
    | ChallengerStarted
    | ApprovalRequested
    | ModelPromoted
    | ModelRolledBack
    | ModelRetired
    | PromotionsPaused
)
