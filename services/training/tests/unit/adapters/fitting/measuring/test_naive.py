"""What needs no model, measured with what was known."""

import numpy as np
import pytest

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.measuring.naive import best_baseline
from millrace_training.adapters.fitting.reading.rows import Rows

HOUR = 3_600_000_000
DAY, WEEK = 24, 7 * 24


def rows_of(labels, hours=None):
    count = len(labels)
    times = np.arange(count) if hours is None else np.asarray(hours)
    kind = object if isinstance(labels[0], str) else float
    return Rows(
        times * HOUR, np.zeros((count, 1)), np.empty((count, 0), object), np.array(labels, kind)
    )


def split(labels, holdout, hours=None):
    rows = rows_of(labels, hours)
    return rows.part(0, len(rows) - holdout), rows.part(len(rows) - holdout, len(rows))


def test_a_level_that_shifts_is_best_told_by_the_newest_label():
    train, holdout = split([0.0] * 40 + [10.0] * 10, 8)
    found = best_baseline(LabelKind.REGRESSION, (), train, holdout, 0)
    assert found.name == "no_change"
    assert found.metrics["mae"] == 0.0
    assert found.losses.tolist() == [0.0] * 8
    assert "no_change 0" in found.notes[0]
    assert "median" in found.notes[0]


@pytest.mark.parametrize(("delay", "wrong"), [(0, 1), (1, 2), (3, 4)])
def test_a_label_is_not_known_before_its_delay_is_over(delay, wrong):
    """The level shifts at the first row of the holdout: it is seen in a label that came `delay` before the row, or earlier."""
    train, holdout = split([0.0] * 40 + [10.0] * 8, 8)
    found = best_baseline(LabelKind.REGRESSION, (), train, holdout, delay * HOUR)
    assert found.name == "no_change"
    assert np.flatnonzero(found.losses).tolist() == list(range(wrong))


def test_nothing_that_is_learnt_at_the_holdouts_beginning_was_unknown_then():
    # the last 10 training rows are not known yet: with them the mean would be 25
    train, holdout = split([0.0] * 30 + [100.0] * 10 + [0.0, 50.0] * 5, 10)
    found = best_baseline(LabelKind.REGRESSION, (), train, holdout, 10 * HOUR)
    assert " mean 25," in found.notes[0]  # the mean error of always answering 0


def test_hours_of_the_week_need_two_weeks_and_hours_of_the_day_two_days():
    hours = np.arange(3 * WEEK)
    weekly = (hours % WEEK).astype(float)
    found = best_baseline(LabelKind.REGRESSION, (), *split(weekly.tolist(), 100), 0)
    assert (found.name, found.metrics["mae"]) == ("hour_of_week", 0.0)
    daily = np.random.default_rng(0).permutation(DAY)[hours[: 3 * DAY] % DAY].astype(float)
    found = best_baseline(LabelKind.REGRESSION, (), *split(daily.tolist(), 10), 0)
    assert (found.name, found.metrics["mae"]) == ("hour_of_day", 0.0)
    assert "hour_of_week" not in found.notes[0]
    short = best_baseline(LabelKind.REGRESSION, (), *split(daily[:40].tolist(), 10), 0)
    assert "hour_of" not in short.notes[0]


def test_an_hour_that_was_never_seen_gets_the_mean():
    hours = [hour for hour in range(4 * DAY) if hour % DAY != 5] + [4 * DAY + 5]
    found = best_baseline(
        LabelKind.REGRESSION, (), *split([float(h % 2) for h in hours], 1, hours), 0
    )
    assert np.isfinite(found.losses).all()


def test_classes_that_stay_are_told_by_the_newest_and_shuffled_ones_by_how_often_they_occur():
    lasting = ([0.0] * 20 + [1.0] * 20) * 5
    found = best_baseline(LabelKind.BINARY, ("0", "1"), *split(lasting, 50), 0)
    assert found.name == "no_change"
    assert found.metrics["accuracy"] > 0.9
    assert found.metrics["log_loss"] < 0.4
    shuffled = (np.random.default_rng(3).random(400) < 0.2).astype(float).tolist()
    found = best_baseline(LabelKind.BINARY, ("0", "1"), *split(shuffled, 100), 0)
    assert found.name == "majority"


def test_a_class_that_only_the_holdout_has_is_answered_with_the_shares():
    labels = ["a", "b"] * 20 + ["new"] * 10
    found = best_baseline(LabelKind.MULTICLASS, ("a", "b"), *split(labels, 10), 0)
    assert np.isfinite(found.losses).all()
    assert found.metrics["accuracy"] == 0.0


def test_a_delay_beyond_all_rows_still_gives_a_baseline():
    found = best_baseline(LabelKind.REGRESSION, (), *split([1.0, 2.0] * 20, 10), 1_000 * HOUR)
    assert np.isfinite(found.losses).all()
