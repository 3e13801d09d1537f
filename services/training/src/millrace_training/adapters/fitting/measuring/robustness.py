"""How much of a model's skill is learnt by heart, and how much is left when what it is given is not quite right.

Skill is the share of a naive guess's loss that a model takes away: 1 - loss / naive loss, over the same rows. 0: no better
than guessing; 1: never wrong. It has no unit, so one bound suits every label.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.scorer import Scorer
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.measuring.measure import baseline_scores, row_losses
from millrace_training.adapters.fitting.reading.encoding import classes_seen
from millrace_training.adapters.fitting.reading.rows import Labels, Rows

MOST_ROWS = 1_000  # that a drop is measured over; more would hardly make it more exact
NOISE = 0.1  # of a column's spread
SWAPPED = 0.05  # of the categories: so many take another row's
MISSING = 0.1  # of the values


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Tells the skill of one model; the naive guess knows the labels of `train` only."""

    job: FitJob
    scorer: Scorer
    train: Labels
    classes: tuple[str, ...]

    def skill(self, rows: Rows, given: Rows | None = None) -> float | None:
        """Over the labels of `rows`, answering to `given` in their stead. None where guessing is never wrong."""
        kind, seen = self.job.label_kind, given or rows
        guess = baseline_scores(kind, self.classes, self.train, len(rows))
        naive = float(np.mean(row_losses(kind, self.classes, rows.labels, guess)))
        if naive <= 0.0:
            return None
        scores = self.scorer.score(seen.numbers, seen.categories.tolist())
        losses = row_losses(kind, self.scorer.signature.classes, rows.labels, scores)
        return 1.0 - float(np.mean(losses)) / naive


def judge_of(job: FitJob, scorer: Scorer, train: Rows) -> Judge:
    return Judge(job, scorer, train.labels, classes_seen(job, train))


def overfit(judge: Judge, train: Rows, holdout: Rows) -> float | None:
    """The skill on rows that were learnt less the skill on those that were not: 0 for what holds, 1 for what was learnt by heart."""
    learnt, new = judge.skill(thinned(train, len(holdout))), judge.skill(holdout)
    return None if learnt is None or new is None else learnt - new


def noise_drop(judge: Judge, rows: Rows) -> float | None:
    """The skill lost when every number is off by a tenth of its column's spread, and every twentieth category is another row's."""
    rows = thinned(rows, MOST_ROWS)
    generator = np.random.default_rng(judge.job.seed)
    spreads = np.array([_spread(column) for column in rows.numbers.T])
    numbers = rows.numbers + generator.normal(size=rows.numbers.shape) * NOISE * spreads
    strange = rows.categories[generator.permutation(len(rows))]
    swapped = generator.random(rows.categories.shape) < SWAPPED
    return _lost(
        judge,
        rows,
        replace(rows, numbers=numbers, categories=np.where(swapped, strange, rows.categories)),
    )


def missing_drop(judge: Judge, rows: Rows) -> float | None:
    """The skill lost when every tenth value, chosen at random, is missing."""
    rows = thinned(rows, MOST_ROWS)
    generator = np.random.default_rng(judge.job.seed)
    numbers = np.where(generator.random(rows.numbers.shape) < MISSING, np.nan, rows.numbers)
    categories = rows.categories.copy()
    categories[generator.random(categories.shape) < MISSING] = ""
    return _lost(judge, rows, replace(rows, numbers=numbers, categories=categories))


def thinned(rows: Rows, most: int) -> Rows:
    """At most so many rows, evenly from all of them."""
    if len(rows) <= most:
        return rows
    places = np.linspace(0, len(rows) - 1, most).astype(int)
    return rows.chosen(places)


def _lost(judge: Judge, rows: Rows, given: Rows) -> float | None:
    whole, spoilt = judge.skill(rows), judge.skill(rows, given)
    return None if whole is None or spoilt is None else whole - spoilt


def _spread(column: NDArray[np.float64]) -> float:
    known = column[np.isfinite(column)]
    return float(np.std(known)) if len(known) else 0.0
