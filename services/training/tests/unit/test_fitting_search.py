from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.estimators import ALGORITHMS
from millrace_training.adapters.fitting.job import FitJob, NoCandidateError
from millrace_training.adapters.fitting.rows import Rows
from millrace_training.adapters.fitting.search import choose, recipes, suiting


def a_job(*candidates, kind=LabelKind.REGRESSION, **changes):
    return FitJob("bikes", 1, kind, ("temp",), (), candidates, Path("none"), 100, 10, **changes)


def straight_rows(count=150, kind=LabelKind.REGRESSION):
    """What a linear model gets exactly right."""
    temp = np.random.default_rng(3).normal(size=(count, 1))
    label = 5.0 * temp[:, 0] if kind is LabelKind.REGRESSION else (temp[:, 0] > 0) * 1.0
    return Rows(np.arange(count), temp, np.zeros((count, 0), dtype=object), label)


def test_one_recipe_needs_no_search():
    choice = choose(a_job("linear"), straight_rows())
    assert [recipe.algorithm.name for recipe in choice.ranked] == ["linear"]
    assert choice.trials == ()


def test_the_defaults_of_several_candidates_are_compared_best_first():
    choice = choose(a_job("random_forest", "linear"), straight_rows())
    assert [recipe.algorithm.name for recipe in choice.ranked] == ["linear", "random_forest"]
    assert [trial.algorithm for trial in choice.trials] == ["random_forest", "linear"]
    assert [trial.number for trial in choice.trials] == [1, 2]
    assert choice.trials[1].metrics["mae"] == choice.trials[1].loss < choice.trials[0].loss


def test_a_search_tries_as_often_as_it_is_told_and_the_same_each_time():
    job = a_job("linear", trials=5, seed=8)
    one, other = choose(job, straight_rows()), choose(job, straight_rows())
    assert len(one.trials) == 5
    assert [trial.parameters_json for trial in one.trials] == [
        trial.parameters_json for trial in other.trials
    ]
    assert len({trial.parameters_json for trial in one.trials}) == 5
    best = min(one.trials, key=lambda trial: trial.loss)
    assert one.ranked[0].parameters_json == best.parameters_json


def test_a_search_stops_at_its_timeout_with_what_it_has():
    choice = choose(a_job("linear", trials=50, timeout_seconds=0.0), straight_rows())
    assert len(choice.trials) == len(choice.ranked) == 1
    assert "after 1 of 50 trials" in choice.notes[0]


def test_recipes_start_with_every_default_and_do_not_depend_on_how_many_are_taken():
    algorithms = (ALGORITHMS["xgboost"], ALGORITHMS["linear"])
    few, many = list(recipes(algorithms, 6, seed=1)), list(recipes(algorithms, 20, seed=1))
    assert few == many[:6]
    assert [recipe.parameters for recipe in few[:2]] == [each.defaults for each in algorithms]
    assert few != list(islice(recipes(algorithms, 6, seed=2), 6))


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_draws_have_the_parameters_that_the_defaults_have(name):
    algorithm = ALGORITHMS[name]
    for seed in range(20):
        drawn = algorithm.draw(np.random.default_rng(seed))
        assert drawn.keys() == algorithm.defaults.keys()
        assert {key: type(value) for key, value in drawn.items()} == {
            key: type(value) for key, value in algorithm.defaults.items()
        }


def test_candidates_that_do_not_suit_the_label_are_left_out_with_a_note():
    algorithms, notes = suiting(a_job("linear", "xgboost", "linear", kind=LabelKind.BINARY))
    assert [each.name for each in algorithms] == ["xgboost"]
    assert notes == ("linear does not suit a binary label",)


def test_a_job_in_which_nothing_suits_says_what_would():
    with pytest.raises(NoCandidateError, match=r"logistic.*random_forest.*xgboost"):
        suiting(a_job("linear", kind=LabelKind.MULTICLASS))
    with pytest.raises(NoCandidateError, match=r"no such kind of model.*lightgbm"):
        suiting(a_job("lightgbm"))


def test_rows_that_all_but_the_newest_have_one_label_are_not_searched():
    rows = straight_rows(kind=LabelKind.BINARY)
    labels = np.zeros(150)
    labels[-1] = 1.0
    rows = Rows(rows.event_times, rows.numbers, rows.categories, labels)
    choice = choose(a_job("xgboost", "logistic", kind=LabelKind.BINARY), rows)
    assert [recipe.algorithm.name for recipe in choice.ranked] == ["xgboost", "logistic"]
    assert choice.trials == ()
    assert "no search" in choice.notes[0]
