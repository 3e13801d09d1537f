"""How well answers rank rows, for binary labels: as scikit-learn's metrics of these names, without their checks, which took a fifth
of a small update's time."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def roc_auc(truths: Numbers, values: Numbers) -> float:
    """How often a row of the positive class is above one of the other, a tie half (Mann and Whitney 1947).

    `truths` are 0 and 1, `values` finite, both [rows]; each class occurs.
    """
    hits, rows = _from_the_top(truths, values)
    misses = rows - hits
    area = np.sum(np.diff(misses, prepend=0.0) * (hits + np.concatenate([[0.0], hits[:-1]]))) / 2
    return float(area / (hits[-1] * misses[-1]))


def average_precision(truths: Numbers, values: Numbers) -> float:
    """The mean of the precisions at each positive row, tied rows together; as `roc_auc` takes them."""
    hits, rows = _from_the_top(truths, values)
    return float(np.sum(np.diff(hits, prepend=0.0) * hits / rows) / hits[-1])


def _from_the_top(truths: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """For each value that occurs, the largest first: how many positive rows, and how many rows, are at least there."""
    order = np.argsort(values, kind="stable")[::-1]
    ends = np.flatnonzero(np.diff(values[order], append=-np.inf))
    hits: Numbers = np.cumsum(truths[order])[ends]
    return hits, (ends + 1).astype(np.float64)
