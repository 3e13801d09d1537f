"""The pipelines heard of: by name, and each version that a vector may still name."""

from collections.abc import Sequence

from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import Pipeline
from millrace_serving.application.errors import UnknownModelError
from millrace_serving.domain.columns import Columns
from millrace_serving.domain.events import PipelineApplied

_MOST_NAMED = 10


class Pipelines:
    """An in-memory view, folded from the topic's beginning in every instance."""

    def __init__(self) -> None:
        self._current: dict[PipelineName, Pipeline] = {}
        self._versions: dict[tuple[PipelineName, int], tuple[Pipeline, Columns]] = {}
        self._ended: set[PipelineName] = set()

    def apply(self, event: PipelineApplied) -> None:
        for pipeline in event.versions:
            self._versions[event.pipeline, pipeline.version] = (pipeline, Columns.of(pipeline))
        self._ended.discard(event.pipeline)
        newest, known = event.versions[-1], self._current.get(event.pipeline)
        # after a lost connection history is heard again, oldest first
        if known is None or newest.version > known.version:
            self._current[event.pipeline] = newest

    def end(self, name: PipelineName) -> None:
        """Answer no more requests for it. Its versions stay: vectors on their way are still answered."""
        self._current.pop(name, None)
        self._ended.add(name)

    def names(self) -> list[PipelineName]:
        return sorted(self._current)

    def current(self, name: str) -> Pipeline:
        """The file in force. Raises UnknownModelError."""
        pipeline = self._current.get(PipelineName(name))
        if pipeline is None:
            known = _in_words(self.names()) or "none yet"
            raise UnknownModelError(f"there is no pipeline {name!r} here; known: {known}")
        return pipeline

    def version(self, name: PipelineName, version: int) -> tuple[Pipeline, Columns]:
        """The file that a vector names, and its columns. Raises TransientError: it is on its way on another topic.

        PermanentError for a pipeline that was ended and whose files are gone: waiting would block its neighbours for ever.
        """
        known = self._versions.get((name, version))
        if known is not None:
            return known
        if name in self._ended:
            raise PermanentError(
                f"pipeline {name} was ended, and its version {version} is gone: the vector can't be read"
            )
        raise TransientError(
            f"version {version} of pipeline {name} has not been heard of on millrace.pipelines yet"
        )


def _in_words(names: Sequence[str]) -> str:
    """Some of them, where there are too many for a message."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
