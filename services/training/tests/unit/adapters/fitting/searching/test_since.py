"""What came since a change, alone or with the past: whichever is better on the newest rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.job import FEWEST_ROWS, FitJob
from millrace_training.adapters.fitting.reading.rows import Rows
from millrace_training.adapters.fitting.searching.recipes import ALL_OF_IT, winner_of
from millrace_training.adapters.fitting.searching.search import choose
from millrace_training.adapters.fitting.searching.since import FEWEST_SINCE, with_the_better_past

ROWS, CHANGE = 2_000, 1_200


def a_job(since_us=None, **changes):
    kind = changes.pop("kind", LabelKind.REGRESSION)
    return FitJob("mill", 1, kind, ("x",), (), ("linear",), Path("none"), ROWS, 100, since_us=since_us, **changes)  # fmt: skip


def rows(change_at=CHANGE, slope_after=-5.0, kind=LabelKind.REGRESSION, noise=0.1):
    """y = 5x + noise, and `slope_after` from the change on; a row each microsecond."""
    generator = np.random.default_rng(3)
    x = generator.normal(size=(ROWS, 1))
    slope = np.where(np.arange(ROWS) < change_at, 5.0, slope_after)
    y = slope * x[:, 0] + noise * generator.normal(size=ROWS)
    if kind is LabelKind.BINARY:
        y = (y > 0) * 1.0
    return Rows(np.arange(ROWS), x, np.zeros((ROWS, 0), dtype=object), y)


def chosen(job, train):
    choice = with_the_better_past(job, train, choose(job, train))
    return choice.ranked[0], choice.notes


def test_after_a_change_only_what_came_since_is_learnt():
    recipe, notes = chosen(a_job(CHANGE), rows())
    learnt = recipe.learnt(rows())
    assert (int(learnt.event_times[0]), len(learnt)) == (CHANGE, ROWS - CHANGE)
    assert "learns only what came after the change since 1970-01-01T00:00:00.0012" in notes[-1]


def test_what_ships_learns_nothing_from_before_the_change_either():
    recipe, _ = chosen(a_job(CHANGE), rows().part(0, ROWS - 100))
    assert int(recipe.learnt(rows()).event_times[0]) >= CHANGE


def test_after_a_false_alarm_the_past_is_learnt_as_well():
    recipe, notes = chosen(a_job(CHANGE), rows(slope_after=5.0, noise=20.0))
    assert recipe.past == ALL_OF_IT
    assert "learns the past as well as the change" in notes[-1]


def test_where_the_past_does_no_harm_it_is_learnt_as_well():
    constant = replace(rows(), labels=np.full(ROWS, 4.0))
    recipe, notes = chosen(a_job(CHANGE), constant)
    assert recipe.past == ALL_OF_IT
    assert "loss 0, with the past 0" in notes[-1]


@pytest.mark.parametrize("since", [None, ROWS - FEWEST_SINCE + 1, ROWS + 5, 10, -5], ids=str)
def test_nothing_is_tried_without_a_change_or_where_too_little_lies_on_one_side_of_it(since):
    recipe, notes = chosen(a_job(since), rows())
    assert (recipe.past, notes) == (ALL_OF_IT, ())


def test_labels_that_were_not_known_in_time_do_not_count():
    """All that came since is too young to be learnt when its newest fifth is answered."""
    recipe, notes = chosen(a_job(CHANGE, label_delay_us=700), rows())
    assert (recipe.past, notes) == (ALL_OF_IT, ())


def test_where_all_that_came_since_has_one_label_there_is_nothing_to_choose():
    train = rows(kind=LabelKind.BINARY)
    train = replace(train, labels=np.where(np.arange(ROWS) < CHANGE, train.labels, 1.0))
    job = replace(a_job(CHANGE, kind=LabelKind.BINARY), candidates=("logistic",))
    recipe, notes = chosen(job, train)
    assert (recipe.past, notes) == (ALL_OF_IT, ())


def test_what_is_made_again_learns_what_it_learnt_then():
    recipe, _ = chosen(a_job(CHANGE), rows())
    again = a_job(CHANGE, winner=winner_of(recipe, prefers_native=False))
    assert chosen(again, rows(slope_after=5.0))[0].past == recipe.past


def test_what_ships_learns_all_that_came_since_the_holdout_too():
    recipe, _ = chosen(a_job(CHANGE), rows().part(0, ROWS - 500))

    assert len(recipe.learnt(rows())) == ROWS - CHANGE


def test_a_change_that_no_row_follows_leaves_enough_to_learn_from():
    late = replace(ALL_OF_IT, since_us=ROWS + 1)

    assert len(late.taken(rows(), ROWS)) == FEWEST_ROWS
