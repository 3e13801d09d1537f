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


class UnregisteredRunError(PermanentError):
    """A model card of a run that led to no version here."""

    def __init__(self, pipeline: str, run_number: int) -> None:
        super().__init__(
            f"{pipeline}: run {run_number} led to no model version, so its model card belongs to none; if the run's "
            "TrainingCompleted is a dead letter, replay that first, then this"
        )


class UnknownCardError(PermanentError):
    """No model card was made for this version."""

    def __init__(self, pipeline: str, version: int) -> None:
        super().__init__(
            f"version {version} of {pipeline} has no model card: it is still being made (ask again in some seconds), the "
            "version only added trees to the champion or was made before there were cards, or training leaves them "
            "out (TRAINING_CARDS) or failed to make it (see the run's notes)"
        )


class UnreadableCardError(PermanentError):
    """What is stored where a model card should be is none."""
