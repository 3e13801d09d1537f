"""Instants and durations keep their laws."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.time import (
    EARLIEST,
    HOUR,
    LATEST,
    MINUTE,
    SECOND,
    Duration,
    Instant,
    as_datetime,
    format_duration,
    instant,
    parse_duration,
    parse_rfc3339,
    rfc3339,
)

instants = st.integers(EARLIEST, LATEST).map(Instant)


@given(instants)
def test_an_instant_survives_its_text(at: Instant):
    assert parse_rfc3339(rfc3339(at)) == at


@given(instants, instants)
def test_texts_sort_as_the_instants_do(one: Instant, other: Instant):
    assert (rfc3339(one) < rfc3339(other)) == (one < other)


@given(instants)
def test_an_instant_survives_a_datetime(at: Instant):
    assert instant(as_datetime(at)) == at


def test_any_offset_is_the_same_instant():
    berlin = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert instant(berlin) == instant(datetime(2026, 7, 1, 10, tzinfo=UTC))
    assert parse_rfc3339("2026-07-01T12:00:00+02:00") == parse_rfc3339("2026-07-01 10:00:00")


def test_a_naive_datetime_is_refused_because_its_meaning_depends_on_the_machine():
    with pytest.raises(ValueError, match="has no time zone"):
        instant(datetime(2026, 7, 1))  # noqa: DTZ001  that is the point


@given(st.integers(0, 10**18).map(Duration))
def test_a_duration_survives_its_text(duration: Duration):
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [("90s", 90 * SECOND), ("1h30m", HOUR + 30 * MINUTE), (" 5m ", 5 * MINUTE)],
)
def test_durations_read_as_people_write_them(text: str, duration: int):
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "1", "h", "1 h", "-1h", "1.5h", "1y"])
def test_what_is_no_duration_is_refused_with_the_forms_that_are(text: str):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
