"""What rows a dataset holds."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.time import Instant
from millrace_training.domain.datasets import LabelColumns, VectorColumns, labelled_rows


@dataclass(frozen=True)
class Vector:
    event: int
    event_time: int
    recorded_at: int


@dataclass(frozen=True)
class Label:
    event: int
    known_at: int
    recorded_at: int
    retracted: bool = False


def integers(values) -> np.ndarray:
    return np.array(list(values), dtype=np.int64)


def dataset(vectors, labels, as_of=100, most=1000) -> list[tuple[int, int]]:
    """Which vector stands beside which label; the position in the list is the offset."""
    rows = labelled_rows(
        VectorColumns(
            integers(vector.event for vector in vectors),
            integers(vector.event_time for vector in vectors),
            integers(vector.recorded_at for vector in vectors),
            integers(range(len(vectors))),
        ),
        LabelColumns(
            integers(label.event for label in labels),
            integers(label.known_at for label in labels),
            integers(label.recorded_at for label in labels),
            integers(range(len(labels))),
            np.array([label.retracted for label in labels], dtype=np.bool_),
        ),
        Instant(as_of),
        most,
    )
    return list(zip(rows.vectors.tolist(), rows.labels.tolist(), strict=True))


def by_hand(vectors, labels, as_of, most) -> list[tuple[int, int]]:
    """The same, written for reading: one event after the other."""
    rows = []
    for event in {vector.event for vector in vectors}:
        described = [
            (v.recorded_at, i)
            for i, v in enumerate(vectors)
            if v.event == event and v.recorded_at <= as_of
        ]
        told = [
            (b.known_at, i)
            for i, b in enumerate(labels)
            if b.event == event and max(b.known_at, b.recorded_at) <= as_of
        ]
        if described and told and not labels[max(told)[1]].retracted:
            vector = max(described)[1]
            rows.append((vectors[vector].event_time, event, vector, max(told)[1]))
    return [(vector, label) for _, _, vector, label in sorted(rows)[-most:]]


def test_rows_are_events_with_a_vector_and_a_label_in_event_time_order():
    vectors = [Vector(1, 20, 20), Vector(2, 10, 10), Vector(3, 5, 5)]
    labels = [Label(1, 30, 30), Label(2, 30, 30), Label(9, 30, 30)]

    assert dataset(vectors, labels) == [(1, 1), (0, 0)]


def test_a_label_that_was_not_known_yet_is_not_learnt_from():
    assert dataset([Vector(1, 10, 10)], [Label(1, 31, 11)], as_of=30) == []
    assert dataset([Vector(1, 10, 10)], [Label(1, 11, 31)], as_of=30) == []


def test_the_label_that_was_known_last_counts_even_if_it_came_first():
    assert dataset([Vector(1, 10, 10)], [Label(1, 30, 30), Label(1, 20, 40)]) == [(0, 0)]


def test_a_correction_after_the_time_asked_for_does_not_change_the_past():
    assert dataset([Vector(1, 10, 10)], [Label(1, 20, 20), Label(1, 40, 40)], as_of=30) == [(0, 0)]


def test_a_retraction_takes_the_event_out_and_a_new_label_brings_it_back():
    vectors = [Vector(1, 10, 10)]
    labels = [Label(1, 20, 20), Label(1, 30, 30, retracted=True), Label(1, 40, 40)]

    assert [dataset(vectors, labels, as_of) for as_of in (20, 30, 40)] == [[(0, 0)], [], [(0, 2)]]


def test_a_vector_recorded_later_is_not_learnt_from():
    assert dataset([Vector(1, 10, 40)], [Label(1, 20, 20)], as_of=30) == []


def test_of_too_many_rows_the_newest_stay():
    vectors = [Vector(event, 100 - event, 1) for event in range(10)]
    labels = [Label(event, 1, 1) for event in range(10)]

    assert dataset(vectors, labels, most=3) == [(2, 2), (1, 1), (0, 0)]


vector_lists = st.lists(
    st.builds(Vector, st.integers(0, 6), st.integers(0, 9), st.integers(0, 9)), max_size=15
)
label_lists = st.lists(
    st.builds(Label, st.integers(0, 6), st.integers(0, 9), st.integers(0, 9), st.booleans()),
    max_size=25,
)


@given(vector_lists, label_lists, st.integers(0, 10), st.integers(1, 8))
def test_it_is_what_a_person_would_pick_by_hand(vectors, labels, as_of, most):
    assert dataset(vectors, labels, as_of, most) == by_hand(vectors, labels, as_of, most)
