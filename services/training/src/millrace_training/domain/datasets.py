"""What rows a dataset holds: the newest events with a vector and a label, as both were known at one recorded time.

Columns in, row numbers out: events are numbered (by their ids' order, so that ties end the same way on every machine),
and millions of rows take milliseconds. The lake brings the columns and fetches the rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace_kernel.time import Instant

Integers = NDArray[np.int64]
Truths = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class VectorColumns:
    """The vectors that there are, one in a row, in any order."""

    event: Integers
    event_time: Integers
    recorded_at: Integers
    offset: Integers


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """What was ever said about labels, one saying in a row, in any order."""

    event: Integers
    known_at: Integers
    recorded_at: Integers
    offset: Integers
    retracted: Truths


@dataclass(frozen=True, slots=True)
class Rows:
    """A dataset's rows in event-time order: which vector, which label."""

    vectors: Integers
    labels: Integers

    def __len__(self) -> int:
        return len(self.vectors)


def labelled_rows(vectors: VectorColumns, labels: LabelColumns, as_of: Instant, most: int) -> Rows:
    """Join by event: only vectors recorded by `as_of`, only the last of the labels known and recorded by then.

    A retraction takes an event out. Of more than `most` rows, the newest in event time stay.
    """
    described = _last_vectors(vectors, as_of)
    told = _last_labels(labels, as_of)
    _, at_vectors, at_labels = np.intersect1d(
        vectors.event[described], labels.event[told], assume_unique=True, return_indices=True
    )
    rows_of_vectors, rows_of_labels = described[at_vectors], told[at_labels]
    order = np.lexsort((vectors.event[rows_of_vectors], vectors.event_time[rows_of_vectors]))
    newest = order[len(order) - min(most, len(order)) :]
    return Rows(rows_of_vectors[newest], rows_of_labels[newest])


def _last_vectors(vectors: VectorColumns, as_of: Instant) -> Integers:
    """One vector of each event: the one recorded last by `as_of`."""
    known = np.flatnonzero(vectors.recorded_at <= as_of)
    return known[
        _last_of_each(vectors.event[known], vectors.recorded_at[known], vectors.offset[known])
    ]


def _last_labels(labels: LabelColumns, as_of: Instant) -> Integers:
    """One label of each event: the one known last by `as_of`, of those known at once the one said last; none if it was taken back."""
    known = np.flatnonzero((labels.known_at <= as_of) & (labels.recorded_at <= as_of))
    last = known[_last_of_each(labels.event[known], labels.known_at[known], labels.offset[known])]
    return last[~labels.retracted[last]]


def _last_of_each(event: Integers, at: Integers, offset: Integers) -> Integers:
    """For each event the index of its last row by (at, offset); ascending by event."""
    order = np.lexsort((offset, at, event))
    ends = np.flatnonzero(np.diff(event[order], append=-1))
    return order[ends]
