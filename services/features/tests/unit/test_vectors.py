"""What stands in a vector."""

import math

import pytest

from millrace_kernel.errors import PermanentError

NAN = math.nan


def test_fields_are_columns_under_their_own_names(heart):
    bikes = heart(
        fields="temp: float, weather: category, working: bool, note: string, seen: timestamp"
    )

    vector = bikes.vector("1", 0, 20.5, 1.0, 7.0, texts=["rain", "a note"])

    assert (vector.numbers, vector.categories, vector.late) == ((20.5, 1.0), ("rain",), False)


def test_expressions_read_numbers_texts_and_the_time_of_the_event(heart):
    bikes = heart(
        "{name: warm_and_dry, expr: temp * (1 - hum)}",
        "{name: rainy, expr: 'weather == \"rain\"'}",
        "{name: second, expr: event_time % 60}",
        fields="temp: float, hum: float, weather: category",
    )

    vector = bikes.event("1", 3661.5, 20.0, 0.25, texts=["rain"])

    assert vector["warm_and_dry"] == 15.0
    assert vector["rainy"] == 1.0
    assert vector["second"] == 1.5


def test_a_lag_counts_the_entitys_own_events_back(heart):
    bikes = heart(
        "{name: change, expr: 'x - lag(x, 2)'}",
        "{name: pause, expr: 'event_time - lag(event_time, 1)'}",
    )
    bikes.event("1", 1, 10.0)
    bikes.event("other", 2, 99.0, entity="another")

    assert math.isnan(bikes.event("2", 3, 11.0)["change"])
    vector = bikes.event("3", 7, 15.0)

    assert vector["change"] == 5.0
    assert vector["pause"] == 4.0


def test_a_window_ends_with_the_event_and_leaves_out_its_other_end(heart):
    bikes = heart(
        "{name: events, agg: count, window: 10s}", "{name: total, agg: sum, of: x, window: 10s}"
    )
    bikes.event("1", 0, 1.0)
    bikes.event("2", 1, 2.0)

    vector = bikes.event("3", 10, 4.0)

    assert vector["events"] == 2.0
    assert vector["total"] == 6.0


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("sum", 12.0),
        ("mean", 4.0),
        ("min", 2.0),
        ("max", 7.0),
        ("std", math.sqrt(7.0)),
        ("last", 3.0),
    ],
)
def test_aggregates_skip_what_is_missing(heart, function, expected):
    bikes = heart(f"{{name: made, agg: {function}, of: x, window: 1m}}")
    for place, value in enumerate([2.0, NAN, 7.0, 3.0]):
        bikes.event(str(place), place, value)

    assert bikes.event("late", 5, NAN)["made"] == pytest.approx(expected)


@pytest.mark.parametrize("function", ["sum", "mean", "min", "max", "std", "last"])
def test_nothing_has_no_aggregate(heart, function):
    bikes = heart(f"{{name: made, agg: {function}, of: x, window: 1m}}")

    assert math.isnan(bikes.event("1", 0, NAN)["made"])


def test_one_value_has_no_deviation(heart):
    bikes = heart("{name: spread, agg: std, of: x, window: 1m}")

    assert math.isnan(bikes.event("1", 0, 5.0)["spread"])
    assert bikes.event("2", 1, 5.0)["spread"] == 0.0


def test_a_sum_is_exact_before_it_is_rounded(heart):
    bikes = heart("{name: total, agg: sum, of: x, window: 1m}")
    for place, value in enumerate([1e16, 1.0, -1e16]):
        bikes.event(str(place), place, value)

    assert bikes.event("3", 3, 1.0)["total"] == 2.0


def test_an_aggregate_beyond_what_a_number_holds_is_missing(heart):
    bikes = heart(
        "{name: total, agg: sum, of: x, window: 10s}",
        "{name: spread, agg: std, of: x, window: 10s}",
    )
    bikes.event("1", 0, 1.7e308)

    assert math.isnan(bikes.event("2", 1, 1.7e308)["total"])
    bikes.event("3", 11, 1.7e308)
    assert math.isnan(bikes.event("4", 12, -1.7e308)["spread"])


def test_last_without_a_window_is_the_newest_ever_that_is_not_missing(heart):
    bikes = heart("{name: latest, agg: last, of: x}")
    bikes.event("1", 0, 5.0)

    assert bikes.event("2", 1_000_000, NAN)["latest"] == 5.0
    assert bikes.event("3", 2_000_000, 6.0)["latest"] == 6.0
    assert bikes.event("4", 3_000_000, NAN)["latest"] == 6.0


def test_an_event_out_of_order_is_computed_as_of_its_own_time_and_seen_by_later_ones(heart):
    bikes = heart("{name: total, agg: sum, of: x, window: 1m}", "{name: before, expr: 'lag(x, 1)'}")
    bikes.event("1", 10, 1.0)
    bikes.event("2", 13, 2.0)

    out_of_order = bikes.event("3", 11, 4.0)
    afterwards = bikes.event("4", 14, 8.0)

    assert (out_of_order["total"], out_of_order["before"]) == (5.0, 1.0)
    assert (afterwards["total"], afterwards["before"]) == (15.0, 2.0)


def test_of_equal_times_the_order_of_arrival_counts(heart):
    bikes = heart("{name: before, expr: 'lag(x, 1)'}")
    bikes.event("1", 10, 1.0)
    bikes.event("2", 12, 2.0)

    assert bikes.event("3", 10, 3.0)["before"] == 1.0
    assert bikes.event("4", 10, 4.0)["before"] == 3.0


def test_an_event_that_is_exactly_as_late_as_allowed_is_in_time(heart):
    bikes = heart("{name: events, agg: count, window: 1m}")
    bikes.event("1", 10, 1.0)

    assert bikes.event("2", 6, 1.0) == {"x": 1.0, "events": 1.0, "late": False}


def test_a_late_event_has_its_own_values_only_and_leaves_no_trace(heart):
    bikes = heart(
        "{name: double, expr: 2 * x}",
        "{name: before, expr: 'coalesce(lag(x, 1), 0)'}",
        "{name: events, agg: count, window: 1m}",
        "{name: latest, agg: last, of: x}",
    )
    bikes.event("1", 1, 1.0)
    bikes.event("2", 10, 1.0)
    before = bikes.history()

    late = bikes.event("3", 5.999, 7.0)

    assert late["late"]
    assert (late["x"], late["double"], late["before"]) == (7.0, 14.0, 0.0)
    assert math.isnan(late["events"])
    assert math.isnan(late["latest"])
    assert bikes.history() is before


def test_an_event_with_the_wrong_number_of_values_is_refused_and_leaves_no_trace(heart):
    bikes = heart("{name: events, agg: count, window: 1m}")

    with pytest.raises(
        PermanentError,
        match="event 1 carries 2 numbers and 0 texts, but version 1 of pipeline bikes has 1 and 0",
    ):
        bikes.event("1", 0, 1.0, 2.0)

    assert not bikes.remembered.histories


def test_without_lags_and_aggregates_only_the_newest_time_is_remembered(heart):
    bikes = heart("{name: double, expr: 2 * x}")
    for second in range(10):
        bikes.event(str(second), second, 1.0)

    assert bikes.history().times == []
    assert bikes.history().fields == {}
    assert bikes.event("late", 4, 1.0)["late"]
