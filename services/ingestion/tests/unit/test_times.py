from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_ingestion.domain.problems import WrongValueError
from millrace_ingestion.domain.times import read_time
from millrace_kernel.time import Instant, instant

NINE = instant(datetime(2026, 11, 21, 9, tzinfo=UTC))
EARLY = datetime(1, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-21T09:00:00Z",
        "2026-11-21t09:00:00z",
        "2026-11-21 09:00:00Z",
        "2026-11-21T09:00:00+00:00",
        "2026-11-21T10:30:00.000+01:30",
        "2026-11-20T22:00:00-11:00",
        "2026-11-21 09:00:00",
        "2026-11-21T09:00:00",
        1795251600,
        1795251600.0,
        1795251600000,
    ],
)
def test_the_same_moment_may_be_written_in_many_ways(written):
    assert read_time(written) == NINE


def test_fractions_of_a_second_count_to_the_microsecond_whatever_follows():
    assert read_time("2026-11-21T09:00:00.5Z") == NINE + 500_000
    assert read_time("2026-11-21T09:00:00.123456789Z") == NINE + 123_456
    assert read_time(1795251600.25) == NINE + 250_000
    assert read_time(1795251600000.5) == NINE + 500


def test_numbers_are_seconds_below_1e11_and_milliseconds_from_there():
    assert read_time(99_999_999_999) == 99_999_999_999_000_000
    assert read_time(100_000_000_000) == 100_000_000_000_000
    assert read_time(99_999_999_999_999) == 99_999_999_999_999_000


def test_before_1970_is_a_time_too_and_others_decide_whether_it_may_be():
    assert read_time("1969-12-31T23:59:59Z") == -1_000_000
    assert read_time(-1) == -1_000_000


@pytest.mark.parametrize(
    "written",
    [
        "",
        "yesterday",
        "2026-11-21",
        "2026-11-21T09:00Z",
        "20261121T090000Z",
        "2026-W47-6T09:00:00",
        "2026-02-31T09:00:00Z",
        "2026-11-21T25:00:00Z",
        "2026-11-21T09:00:00+24:00",
        "2026-11-21T09:00:00+01:75",
        "\uff12\uff10\uff12\uff16-11-21T09:00:00Z",
        " 2026-11-21T09:00:00Z",
        "1795251600",
        100_000_000_000_000,
        1795251600000000000,
        10**400,
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        {},
    ],
)
def test_what_is_no_time_is_refused_with_the_forms_that_are(written):
    with pytest.raises(WrongValueError, match="send RFC 3339 such as"):
        read_time(written)


@given(
    moment=st.integers(0, 366 * 9_000).map(lambda days: EARLY + timedelta(days=days))
    | st.integers(0, 10**17).map(lambda us: EARLY + timedelta(microseconds=us)),
    offset=st.integers(-23 * 60, 23 * 60),
)
def test_text_with_any_offset_means_the_moment_it_was_written_from(moment, offset):
    there = moment.astimezone(UTC) + timedelta(minutes=offset)
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    text = there.strftime("%Y").rjust(4, "0") + there.strftime("-%m-%dT%H:%M:%S.%f")

    read = read_time(f"{text}{sign}{minutes // 60:02}:{minutes % 60:02}")

    assert read == instant(moment)


@given(st.integers(0, 2**51))
def test_seconds_as_a_double_are_good_to_the_microsecond_in_our_lifetime(microseconds):
    assert read_time(microseconds / 1_000_000) == Instant(microseconds)
