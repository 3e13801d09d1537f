"""What the handlers need of the outside. All of it commits, or none of it does, when the handler's transaction ends."""

from typing import Protocol

from millrace_kernel.errors import TransientError
from millrace_kernel.ids import ModelVersionNumber, PipelineName, RunId
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant
from millrace_registry.domain.events import (
    ApplyPipeline,
    Change,
    ModelCardMade,
    ModelVersion,
    PipelineApplied,
    TrainingCompleted,
    Verdict,
)
from millrace_registry.domain.models import Models
from millrace_registry.domain.pipelines import Applied


class FileOvertakenError(TransientError):
    """Another file of this pipeline was applied meanwhile; hold the new one against that and apply it again."""


class Seals(Protocol):
    """Who signed what."""

    def problem(self, training: TrainingCompleted) -> str:
        """Why the candidate's artifact is not to be trusted, in words; empty when a trusted key has signed it."""


class Pipelines(Protocol):
    """The pipeline files in force, and those before them."""

    def of(self, name: PipelineName) -> Applied | None:
        """All its files; None when nobody has applied any. Nobody else changes the pipeline meanwhile."""

    def in_force(self, name: PipelineName) -> Pipeline | None:
        """Its newest file alone; None when nobody has applied any."""

    def put(self, event: PipelineApplied, command: ApplyPipeline) -> None:
        """Keep the next version. Raises FileOvertakenError when somebody else has kept it first."""


class Versions(Protocol):
    """The model versions of all pipelines: how they stand, and what is known of each."""

    def of(self, pipeline: PipelineName) -> Models:
        """How the pipeline's versions stand. Nobody else changes them meanwhile."""

    def put(self, models: Models, event: Change, *, cause: str, at: Instant) -> None:
        """Keep an event and what the versions have become by it. `cause` is the id of the message that led to it."""

    def model(self, pipeline: PipelineName, version: ModelVersionNumber) -> ModelVersion:
        """What is known of a version that `of` named."""

    def verdicts(self, pipeline: PipelineName, version: ModelVersionNumber) -> tuple[Verdict, ...]:
        """What the gates said of it."""

    def of_run(self, pipeline: PipelineName, run_id: RunId) -> ModelVersionNumber | None:
        """The version that the run became, if it has been registered."""

    def put_card(
        self, pipeline: PipelineName, version: ModelVersionNumber, card: ModelCardMade
    ) -> None:
        """Keep where the version's model card is."""

    def done(self, pipeline: PipelineName, cause: str) -> bool:
        """Whether this message has led to a decision before: topics may carry a command twice."""
