"""What needs no model: each of them is measured on the holdout, and the best is what a model must beat.

    mean, median     regression: of the labels
    hour_of_week     regression: the mean of the labels of that hour of the week, of two weeks or more
    hour_of_day      regression: the same by the hour of the day, of two days or more
    majority         classes: how often each occurs
    most_frequent    answers in words: the one that occurs most often
    no_change        the newest label that was known; of a class as probable as it was right before

A label is known `label_delay_us` after its event. Of the holdout's own labels `no_change` uses those known before the row that is
answered; all others know what was known when the holdout began. A dataset's rows name no entity, so the newest label is the
pipeline's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.scorer import Scores
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.measuring.measure import (
    PRIMARY_METRICS,
    Losses,
    baseline_scores,
    metrics_of,
    row_losses,
)
from millrace_training.adapters.fitting.reading.encoding import targets
from millrace_training.adapters.fitting.reading.rows import Rows

_HOUR_US = 3_600_000_000
_DAY_HOURS, _WEEK_HOURS = 24, 7 * 24
_FEWEST_PERIODS = 2  # of one, its mean is that of one day
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """The best of the naive answers, by its mean loss over the holdout: `losses` float64 [rows]. `notes` tells of all of them."""

    name: str
    metrics: dict[str, float]
    losses: Losses
    notes: tuple[str, ...]


def best_baseline(
    kind: LabelKind, classes: tuple[str, ...], train: Rows, holdout: Rows, label_delay_us: int
) -> Baseline:
    """`train` ends where `holdout` begins; both in order of event time. `classes` are those of `train`."""
    past = _Past(kind, classes, train, holdout, label_delay_us)
    losses: dict[str, Losses] = {}
    scores: dict[str, Scores] = {}
    for name, answer in _ANSWERS[kind].items():
        found = answer(past)
        if found is not None:
            scores[name] = found
            losses[name] = row_losses(kind, classes, holdout.labels, found)
    ranked = sorted(losses, key=lambda name: (float(np.mean(losses[name])), name))
    best, metric = ranked[0], PRIMARY_METRICS[kind]
    told = ", ".join(f"{name} {float(np.mean(losses[name])):.4g}" for name in ranked)
    return Baseline(
        best,
        metrics_of(kind, classes, holdout.labels, scores[best]),
        losses[best],
        (f"the naive baseline is {best}; {metric} over the holdout: {told}",),
    )


class _Past:
    """What is known of the labels, and when."""

    def __init__(
        self, kind: LabelKind, classes: tuple[str, ...], train: Rows, holdout: Rows, delay_us: int
    ) -> None:
        self.kind, self.classes, self.holdout, self._delay = kind, classes, holdout, delay_us
        self._times = np.concatenate([train.event_times, holdout.event_times])
        self._labels = np.concatenate([train.labels, holdout.labels])
        count = int(np.searchsorted(train.event_times, holdout.event_times[0] - delay_us))
        self._began = len(train)
        # a delay longer than the training rows: nothing else is there to go by
        self.known = train.part(0, count or len(train))

    @property
    def shares(self) -> Scores:
        return baseline_scores(self.kind, self.classes, self.known.labels, len(self.holdout))

    def newest_labels(self) -> Floats:
        """For each row the newest label known before it, as `targets` has them; NaN where none was."""
        places = np.searchsorted(self._times, self._times - self._delay) - 1
        labels = targets(self._labels, self.classes, self.kind)
        return np.where(places >= 0, labels[np.maximum(places, 0)], np.nan)

    def newest_in_holdout(self) -> Floats:
        return self.newest_labels()[self._began :]

    def was_right(self) -> float:
        """How often, of the known rows, a row's label was the newest known before it: Laplace's estimate."""
        count = len(self.known)
        newest = self.newest_labels()[:count]
        truths = targets(self.known.labels, self.classes, self.kind)
        told = ~np.isnan(newest)
        return float((np.sum(newest[told] == truths[told]) + 1) / (np.sum(told) + 2))


def _constant(middle: Callable[[Floats], np.floating]) -> Callable[[_Past], Scores]:
    def answer(past: _Past) -> Scores:
        value = float(middle(past.known.labels.astype(np.float64)))
        return Scores(np.full(len(past.holdout), value), None)

    return answer


def _last_value(past: _Past) -> Scores:
    newest = past.newest_in_holdout()
    return Scores(np.where(np.isnan(newest), past.shares.values, newest), None)


def _last_class(past: _Past) -> Scores:
    shares = past.shares.probabilities
    assert shares is not None, "a class has probabilities"
    newest = past.newest_in_holdout()
    rows = np.flatnonzero(newest >= 0)  # neither unknown nor a class that training had not seen
    place, right = newest[rows].astype(np.int64), past.was_right()
    others = shares[rows].copy()
    others[np.arange(len(rows)), place] = 0.0
    left = others.sum(axis=1, keepdims=True)
    probabilities = shares.copy()
    probabilities[rows] = (1.0 - right) * others / np.where(left > 0.0, left, 1.0)
    probabilities[rows, place] = np.where(left[:, 0] > 0.0, right, 1.0)
    values = (
        probabilities[:, 1]
        if past.kind is LabelKind.BINARY
        else np.argmax(probabilities, axis=1).astype(np.float64)
    )
    return Scores(values, probabilities)


def _seasonal(hours: int) -> Callable[[_Past], Scores | None]:
    def answer(past: _Past) -> Scores | None:
        times, labels = past.known.event_times, past.known.labels.astype(np.float64)
        if int(times[-1] - times[0]) < _FEWEST_PERIODS * hours * _HOUR_US:
            return None
        slots = times // _HOUR_US % hours
        counts = np.bincount(slots, minlength=hours)
        sums = np.bincount(slots, labels, minlength=hours)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), labels.mean())
        return Scores(means[past.holdout.event_times // _HOUR_US % hours], None)

    return answer


_OF_CLASSES: dict[str, Callable[[_Past], Scores | None]] = {
    "majority": lambda past: past.shares,
    "no_change": _last_class,
}
_ANSWERS: dict[LabelKind, dict[str, Callable[[_Past], Scores | None]]] = {
    LabelKind.REGRESSION: {
        "mean": _constant(np.mean),
        "median": _constant(np.median),
        "no_change": _last_value,
        "hour_of_week": _seasonal(_WEEK_HOURS),
        "hour_of_day": _seasonal(_DAY_HOURS),
    },
    LabelKind.BINARY: _OF_CLASSES,
    LabelKind.MULTICLASS: _OF_CLASSES,
    LabelKind.TEXT: {"most_frequent": lambda past: past.shares},
}
