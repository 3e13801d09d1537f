"""What serving hears and what it says. What every event makes are named tuples: a quarter of the time."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from millrace_kernel.ids import EntityId, EventId, ModelVersionNumber, PipelineName, derived_id
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant
from millrace_serving.domain.answers import Answer
from millrace_serving.domain.champions import Champion


@dataclass(frozen=True, slots=True)
class PipelineApplied:
    """A pipeline file is in force. `versions` holds it last, after the earlier ones that events may still name."""

    pipeline: PipelineName
    versions: tuple[Pipeline, ...]


class FeaturesComputed(NamedTuple):
    """One vector, in the column order that `pipeline_version` fixes. NaN and "" mean missing."""

    pipeline: PipelineName
    pipeline_version: int
    event_id: EventId
    entity: EntityId
    event_time: Instant
    numbers: tuple[float, ...]
    categories: tuple[str, ...]


class Role(StrEnum):
    """Whose answer it is."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"  # for comparison alone: nobody gets it
    FALLBACK = "fallback"
    REQUEST = "request"


class PredictionMade(NamedTuple):
    """One version's answer for one vector; the vector goes along, so that inputs and answer are watched together."""

    vector: FeaturesComputed
    model_version: ModelVersionNumber
    epoch: int
    role: Role
    answer: Answer
    trial: int = 0  # that it was made in; 0: none
    seconds: float = 0.0  # of scoring, this vector's part; 0: not measured

    @property
    def id(self) -> str:
        """The same for the same event whoever answers: done again after a crash, the first one published counts.

        A request's id is its sender's, and may be an event's too; its answer is another prediction than the stream's.
        """
        if self.role is Role.CHALLENGER:
            version = str(self.model_version)
            return derived_id(
                "challenger-prediction", self.vector.pipeline, self.vector.event_id, version
            )
        kind = "request-prediction" if self.role is Role.REQUEST else "prediction"
        return derived_id(kind, self.vector.pipeline, self.vector.event_id)


@dataclass(frozen=True, slots=True)
class ModelDeployed:
    """A promotion was carried out: from here on this instance answers with it."""

    champion: Champion
    instance: str
    load_seconds: float

    @property
    def id(self) -> str:
        return derived_id(
            "model-deployed", self.champion.pipeline, str(self.champion.epoch), self.instance
        )


@dataclass(frozen=True, slots=True)
class DeploymentFailed:
    """A promotion could not be carried out; what answered before goes on answering."""

    champion: Champion
    instance: str
    reason: str
    trial: int = 0  # of a challenger, which was loaded or scored for it; 0: it was promoted

    @property
    def id(self) -> str:
        if self.trial:
            pipeline, trial = self.champion.pipeline, str(self.trial)
            return derived_id("challenger-failed", pipeline, trial, self.instance)
        return derived_id(
            "deployment-failed", self.champion.pipeline, str(self.champion.epoch), self.instance
        )
