"""The benchmark's own streams: the same each time, and drifting as they say."""

import numpy as np
import pytest
from benchmarks.loop.generated import EVENTS, GENERATED

from millrace.replay.ordering import messages_of

BY_NAME = {one.name: one for one in GENERATED}
TENTH = EVENTS // 10


def columns_of(name):
    rows = BY_NAME[name].rows(None)
    width = BY_NAME[name].columns
    numbers = np.array([[row[f"x{place}"] for place in range(width)] for row in rows])
    return numbers, np.array([row["label"] for row in rows])


def agreement(name, first, second):
    """How often the labels of one stretch are what a line through the labels of another says."""
    numbers, labels = columns_of(name)
    numbers = np.column_stack([numbers, np.ones(len(numbers))])
    learnt = slice(first, first + TENTH)
    weights, *_ = np.linalg.lstsq(numbers[learnt], labels[learnt] * 1.0, rcond=None)
    asked = slice(second, second + TENTH)
    return np.mean((numbers[asked] @ weights >= 0.5) == labels[asked])


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_row_is_taken_and_the_same_each_time(name):
    one = BY_NAME[name]
    assert one.rows(None, 50) == one.rows(None, 50)
    rows = one.rows(None, 50)
    messages = messages_of(one.pipeline(), rows)
    assert len(messages) == 2 * len(rows)  # an event and its label


def test_they_drift_as_they_say():
    late = EVENTS - TENTH
    assert agreement("still", 0, late) > 0.8
    assert agreement("gradual", 0, TENTH) > 0.65 > 0.3 > agreement("gradual", 0, EVENTS // 2)
    assert agreement("recurring", 0, 2_500) < 0.3 < 0.7 < agreement("recurring", 0, 5_000)
    assert agreement("sudden", 0, TENTH) > agreement("sudden", 0, late) + 0.03
    assert abs(agreement("noise", 0, late) - 0.5) < 0.05
