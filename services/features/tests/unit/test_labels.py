"""Aggregates of labels: of earlier events only, and only what was known by then."""

import math

import pytest

MEAN = "{name: hired, agg: mean, of: label, window: 1m}"
EVER = "{name: hired, agg: last, of: label}"


@pytest.fixture
def bikes(heart):
    return heart(MEAN)


def test_a_label_counts_from_the_moment_it_is_known(bikes):
    bikes.event("1", 0, 1.0)
    bikes.label("1", 0, known_at=10, value=7.0)

    assert math.isnan(bikes.event("2", 9, 1.0)["hired"])
    assert bikes.event("3", 10, 1.0)["hired"] == 7.0


def test_the_events_own_label_never_counts(bikes):
    bikes.event("1", 0, 1.0)
    bikes.label("1", 0, known_at=0, value=7.0)
    bikes.event("2", 0, 1.0)
    bikes.label("2", 0, known_at=0, value=9.0)

    assert bikes.event("3", 0, 1.0)["hired"] == 8.0
    assert math.isnan(bikes.event("4", -1, 1.0)["hired"])


def test_a_correction_counts_from_the_moment_it_is_known(bikes):
    bikes.event("1", 0, 1.0)
    bikes.label("1", 0, known_at=5, value=7.0)
    bikes.label("1", 0, known_at=20, value=8.0)

    assert bikes.event("2", 19, 1.0)["hired"] == 7.0
    assert bikes.event("3", 20, 1.0)["hired"] == 8.0


def test_corrections_count_in_the_order_of_knowing_however_they_arrive(bikes):
    bikes.event("1", 0, 1.0)
    bikes.label("1", 0, known_at=20, value=8.0)
    bikes.label("1", 0, known_at=5, value=7.0)

    assert bikes.event("2", 19, 1.0)["hired"] == 7.0
    assert bikes.event("3", 21, 1.0)["hired"] == 8.0


def test_of_two_labels_known_at_the_same_time_the_later_arrival_counts(bikes):
    bikes.event("1", 0, 1.0)
    bikes.label("1", 0, known_at=5, value=7.0)
    bikes.label("1", 0, known_at=5, value=8.0)

    assert bikes.event("2", 6, 1.0)["hired"] == 8.0


def test_a_retracted_label_counts_no_more(bikes):
    bikes.event("1", 0, 1.0)
    bikes.label("1", 0, known_at=5, value=7.0)
    bikes.label("1", 0, known_at=20)

    assert bikes.event("2", 19, 1.0)["hired"] == 7.0
    assert math.isnan(bikes.event("3", 20, 1.0)["hired"])


def test_a_label_of_an_event_that_never_comes_or_was_late_changes_nothing(bikes):
    bikes.label("nobody", 8, known_at=9, value=7.0)
    bikes.event("1", 10, 1.0)
    bikes.event("late", 1, 1.0)
    bikes.label("late", 1, known_at=11, value=7.0)

    assert math.isnan(bikes.event("2", 12, 1.0)["hired"])


def test_a_label_may_come_before_its_event(bikes):
    bikes.label("2", 10, known_at=11, value=7.0)
    bikes.label("2", 10, known_at=15, value=8.0)
    bikes.event("1", 10, 1.0)
    bikes.event("2", 10, 1.0)

    assert bikes.event("3", 14, 1.0)["hired"] == 7.0
    assert bikes.event("4", 15, 1.0)["hired"] == 8.0


def test_a_label_names_its_event_by_id_and_time_whichever_comes_first(bikes):
    bikes.label("1", 9, known_at=9, value=7.0)
    bikes.label("1", 11, known_at=9, value=7.0)
    bikes.event("1", 10, 1.0)
    bikes.label("1", 11, known_at=11, value=8.0)

    assert math.isnan(bikes.event("2", 12, 1.0)["hired"])


def test_a_label_waits_for_its_event_until_that_would_be_late(bikes):
    bikes.label("1", 10, known_at=11, value=7.0)
    bikes.event("2", 14, 1.0)
    assert [event_id for _, event_id, _ in bikes.history().labels.ahead] == ["1"]

    bikes.event("3", 15, 1.0)

    assert bikes.history().labels.ahead == []


def test_labels_are_not_kept_for_a_pipeline_that_aggregates_none(heart):
    bikes = heart("{name: events, agg: count, window: 1m}")

    bikes.label("1", 10, known_at=11, value=7.0)

    assert not bikes.remembered.histories


def test_labels_are_counted_and_summed_by_the_events_in_the_window(heart):
    bikes = heart(
        "{name: total, agg: sum, of: label, window: 10s}",
        "{name: worst, agg: max, of: label, window: 20s}",
    )
    for second in range(0, 20, 5):
        bikes.event(str(second), second, 1.0)
        bikes.label(str(second), second, known_at=second + 1, value=float(second))

    vector = bikes.event("last", 20, 1.0)

    assert vector["total"] == 15.0
    assert vector["worst"] == 15.0


def test_the_last_label_ever_outlives_its_event(heart):
    bikes = heart(EVER, maturity="10s")
    bikes.event("1", 0, 1.0)
    bikes.label("1", 0, known_at=5, value=7.0)

    assert bikes.event("2", 1_000_000, 1.0)["hired"] == 7.0
    assert "1" not in bikes.history().labels.ids


def test_the_last_label_ever_heeds_corrections_until_maturity(heart):
    bikes = heart(EVER, maturity="10s")
    bikes.event("1", 0, 1.0)
    bikes.label("1", 0, known_at=1, value=7.0)
    bikes.event("2", 13, 1.0)
    bikes.label("1", 0, known_at=10, value=8.0)
    assert bikes.event("3", 13.5, 1.0)["hired"] == 8.0
    bikes.event("4", 14, 1.0)

    bikes.label("1", 0, known_at=14, value=9.0)

    assert bikes.event("5", 15, 1.0)["hired"] == 8.0


def test_of_what_was_known_before_anything_that_can_come_only_the_last_is_kept(bikes):
    bikes.event("1", 0, 1.0)
    for second in range(1, 30):
        bikes.label("1", 0, known_at=second, value=float(second))
    bikes.event("2", 30, 1.0)

    bikes.label("1", 0, known_at=28, value=0.0)

    assert bikes.history().labels.revisions["1"] == (
        (26_000_000, 26.0),
        (27_000_000, 27.0),
        (28_000_000, 0.0),
        (29_000_000, 29.0),
    )
    bikes.event("3", 61, 1.0)
    assert bikes.history().labels.revisions["1"]
    bikes.event("4", 65, 1.0)
    assert not bikes.history().labels.revisions
