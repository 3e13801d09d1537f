"""Why a request gets no answer."""

from millrace_kernel.errors import MillraceError, TransientError
from millrace_kernel.ids import PipelineName


class UnknownModelError(MillraceError):
    """There is no such pipeline, or the version asked for isn't loaded."""


class NoAnswerError(MillraceError):
    """The pipeline is known, but nothing can answer for it yet."""


class ModelNotLoadedError(TransientError):
    """These pipelines have champions, which are not in memory: `Deployments.ready` brings them there."""

    def __init__(self, pipelines: tuple[PipelineName, ...]) -> None:
        super().__init__(
            f"the models of {', '.join(pipelines[:5])} are being loaded; ask again in a moment"
        )
        self.pipelines = pipelines
