"""How good answers are for each of the groups that a column parts the rows into."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.scorer import Scores
from millrace_kernel.evidence import SliceMetrics
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.measuring.measure import metrics_of
from millrace_training.adapters.fitting.reading.rows import Rows

MOST_SLICES = 50  # of one column: the largest; more would not fit an event that must stay small
_MOST_VALUES = 10  # a number with more different ones is parted into quarters
_MISSING = "(missing)"


def slices_of(
    job: FitJob, classes: tuple[str, ...], rows: Rows, scores: Scores
) -> tuple[SliceMetrics, ...]:
    """Every slice of the columns that the job's gates part the rows by. `scores` are the model's for `rows`."""
    columns = dict.fromkeys(gate.by for gate in job.gates if gate.by is not None)
    return tuple(
        SliceMetrics(
            by,
            value,
            int(np.count_nonzero(chosen)),
            _metrics(job.label_kind, classes, rows, scores, chosen),
        )
        for by in columns
        for value, chosen in _parts(job, by, rows)
    )


def _parts(job: FitJob, by: str, rows: Rows) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The values and which rows have them, the most frequent first. Nothing for a column that the vectors do not have."""
    column = _column(job, by, rows)
    if column is None:
        return
    if column.dtype == np.float64:
        values = _told_apart(column)
    else:
        texts = column.astype(str)
        values = np.where(texts == "", _MISSING, texts)
    names, counts = np.unique(values, return_counts=True)
    for place in np.argsort(-counts, kind="stable")[:MOST_SLICES]:
        yield str(names[place]), values == names[place]


def _column(job: FitJob, by: str, rows: Rows) -> NDArray[Any] | None:
    """One of those that models are given, or one that stands apart; None where the vectors don't have it."""
    if by in job.categories:
        return rows.categories[:, job.categories.index(by)]
    if by in job.numbers:
        return rows.numbers[:, job.numbers.index(by)]
    return rows.apart.get(by)


def _told_apart(numbers: NDArray[np.float64]) -> NDArray[np.str_]:
    """Each number as text; of many different ones the quarter of all that it lies in."""
    known = numbers[~np.isnan(numbers)]
    different = np.unique(known)
    if len(different) <= _MOST_VALUES:
        words = {float(number): f"{number:g}" for number in different}
        return np.array([words.get(float(number), _MISSING) for number in numbers], dtype=str)
    edges = np.unique(np.quantile(known, [0.0, 0.25, 0.5, 0.75, 1.0]))
    places = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    words_of = [f"{low:.6g} to {high:.6g}" for low, high in pairwise(edges)]
    texts = np.array([*words_of, _MISSING], dtype=str)
    return texts[np.where(np.isnan(numbers), len(words_of), places)]


def _metrics(
    kind: LabelKind,
    classes: tuple[str, ...],
    rows: Rows,
    scores: Scores,
    chosen: NDArray[np.bool_],
) -> dict[str, float]:
    probabilities = None if scores.probabilities is None else scores.probabilities[chosen]
    part = Scores(scores.values[chosen], probabilities)
    labels = rows.labels[chosen]
    metrics = metrics_of(kind, classes, labels, part)
    return metrics | _shares(labels, part) if kind is LabelKind.BINARY else metrics


def _shares(labels: NDArray[np.float64], scores: Scores) -> dict[str, float]:
    answered, true = scores.values >= 0.5, labels == 1.0
    found = {
        "positive_share": float(np.mean(answered)),
        "positives": float(np.count_nonzero(true)),
    }
    if true.any():
        found["true_positive_share"] = float(np.mean(answered[true]))
    return found
