"""What the registry refuses. Everything here is permanent: asking again changes nothing."""

from millrace_kernel.errors import PermanentError


class UnknownPipelineError(PermanentError):
    """Nobody has applied a pipeline of this name. The registry is who would know."""

    def __init__(self, pipeline: str) -> None:
        super().__init__(f"no pipeline is called {pipeline!r}; apply its file first")


class UnknownVersionError(PermanentError):
    """The pipeline has no such model version."""

    def __init__(self, pipeline: str, version: int, newest: int) -> None:
        there = f"its versions are 1 to {newest}" if newest else "it has none yet"
        super().__init__(f"{pipeline} has no model version {version}; {there}")


class CommandRefusedError(PermanentError):
    """A command that cannot be carried out as things stand. The text says why, and what can be done."""
