"""Whether what came since a change is learnt alone, or the past as well: the better of the two on the newest rows.

A detector's estimate of where a change began is a suggestion, no more: it may be a false alarm, or what came since may be too little
to learn from, and the past may still help (Gama et al., A Survey on Concept Drift Adaptation, 2014, section 4.2).
"""

from dataclasses import dataclass, replace

import numpy as np

from millrace_kernel.time import Instant, rfc3339
from millrace_training.adapters.fitting.job import FitError, FitJob
from millrace_training.adapters.fitting.measuring.measure import row_losses
from millrace_training.adapters.fitting.reading.rows import Rows, known_by
from millrace_training.adapters.fitting.searching.folds import SPANS
from millrace_training.adapters.fitting.searching.recipes import Past, Recipe
from millrace_training.adapters.fitting.searching.search import Choice

FEWEST_SINCE = 200  # rows: of fewer, a fifth says nothing about the rest
MOST_SINCE = 0.9  # of all rows: what lies before is too little to matter


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """The rows since the change without their newest fifth, all rows without it, and that fifth."""

    since: Rows
    past: Rows
    measured: Rows


def with_the_better_past(job: FitJob, train: Rows, choice: Choice) -> Choice:
    """The choice, its best recipe learning only the rows since `job.since_us` where that is better on the newest fifth of them.

    Measured as a search measures: on newer rows than were learnt, none of whose labels was known later. It costs two fits; none where no
    change was told of, where too few rows follow it or too few lie before it, where the winner is settled already, and where what
    ships is fitted on a cluster, of whose rows a sample is here.
    """
    settled = job.winner is not None or job.cluster is not None
    trial = None if settled else _trial(job, train)
    if trial is None or job.since_us is None or not choice.ranked:
        return choice
    best = choice.ranked[0]
    try:
        with_past = _loss(job, best, trial.past, trial.measured, len(train))
        alone = _loss(job, replace(best, past=Past()), trial.since, trial.measured)
    except FitError:
        return choice  # of one class only, for one: then there is nothing to choose between
    words = f"the change since {rfc3339(Instant(job.since_us))}: loss {alone:.4g}, with the past {with_past:.4g}"
    if alone >= with_past:
        note = f"learns the past as well as {words}"
        return replace(choice, notes=(*choice.notes, note))
    chosen = replace(best, past=Past(since_us=job.since_us))
    note = f"learns only what came after {words}"
    return replace(choice, ranked=(chosen, *choice.ranked), notes=(*choice.notes, note))


def _count_since(rows: Rows, since_us: int) -> int:
    return len(rows) - int(np.searchsorted(rows.event_times, since_us, side="left"))


def _trial(job: FitJob, train: Rows) -> _Trial | None:
    if job.since_us is None:
        return None
    rows = _count_since(train, job.since_us)
    if rows < FEWEST_SINCE or rows > MOST_SINCE * len(train):
        return None
    border = len(train) - rows // SPANS
    measured = train.part(border, len(train))
    past = known_by(train.part(0, border), int(measured.event_times[0]), job.label_delay_us)
    since = past.part(len(past) - _count_since(past, job.since_us), len(past))
    return _Trial(since, past, measured) if len(since) >= FEWEST_SINCE // 2 else None


def _loss(
    job: FitJob, recipe: Recipe, learnt: Rows, measured: Rows, most: int | None = None
) -> float:
    model = recipe.fit(job, learnt, most)
    scores = model.scores(measured)
    return float(
        np.mean(row_losses(job.label_kind, model.signature.classes, measured.labels, scores))
    )
