"""When a pipeline file is a new version, and what the others must know of the old ones."""

from dataclasses import dataclass, replace

from millrace_kernel.pipeline import Pipeline
from millrace_registry.domain.events import ApplyPipeline, PipelineApplied

EARLIER_KEPT = 100  # events on their way name at most this many files back


@dataclass(frozen=True, slots=True)
class Applied:
    """The files of one pipeline: the one in force, and those before it, oldest first."""

    file: Pipeline
    digest: str
    earlier: tuple[Pipeline, ...] = ()

    @property
    def version(self) -> int:
        return self.file.version


def decide(state: Applied | None, command: ApplyPipeline) -> PipelineApplied | None:
    """The next version, or None: a file that says what is in force already changes nothing."""
    if state is None:
        return PipelineApplied(replace(command.file, version=1), command.digest, ())
    if state.digest == command.digest:
        return None
    earlier = (*state.earlier, state.file)[-EARLIER_KEPT:]
    return PipelineApplied(
        replace(command.file, version=state.version + 1), command.digest, earlier
    )


def evolve(event: PipelineApplied) -> Applied:
    return Applied(event.file, event.digest, event.earlier)
