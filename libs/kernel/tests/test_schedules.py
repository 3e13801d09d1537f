"""Schedules that are spread over the names that have them."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.schedules import spread

names = st.text(min_size=1, max_size=63)


@given(names, st.integers(0, 59), st.integers(0, 59))
def test_it_is_within_what_is_named_and_always_the_same(name, one, other):
    first, last = sorted((one, other))
    schedule = f"H({first}-{last}) H * * 1"

    minute, hour, *rest = spread(schedule, name).split()

    assert first <= int(minute) <= last
    assert 0 <= int(hour) <= 23
    assert rest == ["*", "*", "1"]
    assert spread(schedule, name) == spread(schedule, name)


def test_a_thousand_pipelines_are_due_all_over_the_hour():
    due = Counter(spread("H 3 * * *", f"pipeline-{number}") for number in range(6_000))

    assert len(due) == 60
    assert max(due.values()) < 2 * 6_000 / 60


def test_fields_are_spread_apart_from_each_other():
    pairs = {tuple(spread("H H * * *", f"p{number}").split()[:2]) for number in range(1_000)}

    assert len(pairs) > 300, "a minute of its own for each hour would leave 24"


@pytest.mark.parametrize(
    "text", ["0 3 * * *", "*/5 * * * *", "H", "", "H(9-70) 3 * * *", "H(5-2) 3 * * *", "HH 3 * * *"]
)
def test_what_says_no_h_that_can_be_followed_stays_as_it_is(text):
    assert spread(text, "bikes") == text
