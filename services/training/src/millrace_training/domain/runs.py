"""The life of a run."""

from enum import StrEnum


class RunState(StrEnum):
    """REQUESTED, then STARTED once its dataset is taken, then one of the others. A run cut off in the middle is run again."""

    REQUESTED = "requested"
    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"
    SKIPPED = "skipped"  # the dataset was too small


OPEN = (RunState.REQUESTED, RunState.STARTED)
