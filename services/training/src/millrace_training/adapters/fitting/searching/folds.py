"""Where a search learns and where it measures: always on newer rows than it learnt from, and never on a label known too late."""

from dataclasses import dataclass

from millrace_training.adapters.fitting.job import FEWEST_ROWS, FitJob, OneClassError
from millrace_training.adapters.fitting.reading.encoding import classes_of
from millrace_training.adapters.fitting.reading.rows import Rows, known_by
from millrace_training.adapters.fitting.shipping.finishing import fewest_rows

SPANS = 5  # the newest rows are measured on in spans of a fifth of all
_FOLDS = 3
_WEIGHT = (
    0.5  # of a fold, against the next newer one: the newest rows are the most like those to come
)


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """`learnt` is older than `measured`; `weight` is how much its loss counts."""

    learnt: Rows
    measured: Rows
    weight: float


def newest_fold(job: FitJob, train: Rows) -> Fold | None:
    """The newest fifth to measure on, the rest to learn from; None where there is nothing to tell apart yet."""
    return _fold(job, train, len(train) - max(1, len(train) // SPANS), len(train), 1.0)


def folds_of(job: FitJob, train: Rows) -> tuple[Fold, ...]:
    """The newest first, so that what fails where it matters most is given up there; each measured on the fifth before.

    Each learns from all that is older than what it is measured on: a sliding origin (Tashman 2000), never a random split. Those
    are left out before which too few rows lie to learn anything from, or to calibrate by.
    """
    span = max(1, len(train) // SPANS)
    found = []
    for place in range(_FOLDS):
        until = len(train) - place * span
        fold = _fold(job, train, until - span, until, _WEIGHT**place)
        if fold is not None:
            found.append(fold)
    return tuple(found)


def _fold(job: FitJob, train: Rows, border: int, until: int, weight: float) -> Fold | None:
    older, measured = train.part(0, border), train.part(border, until)
    learnt = known_by(older, int(measured.event_times[0]), job.label_delay_us)
    if len(learnt) < max(min(FEWEST_ROWS, border), fewest_rows(job.options)):
        return None
    try:
        classes_of(job, learnt)
    except OneClassError:
        return None
    return Fold(learnt, measured, weight)
