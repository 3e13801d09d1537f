import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.estimators import ALGORITHMS
from millrace_training.adapters.fitting.job import COMPLETE, PRUNED, FitJob, NoCandidateError
from millrace_training.adapters.fitting.options import Options
from millrace_training.adapters.fitting.reading.rows import Rows
from millrace_training.adapters.fitting.searching.folds import folds_of, known_by
from millrace_training.adapters.fitting.searching.recipes import Past, Recipe
from millrace_training.adapters.fitting.searching.search import choose, suiting
from millrace_training.adapters.fitting.searching.study import Study


def a_job(*candidates, kind=LabelKind.REGRESSION, **changes):
    return FitJob("bikes", 1, kind, ("temp",), (), candidates, Path("none"), 100, 10, **changes)


def straight_rows(count=150, kind=LabelKind.REGRESSION):
    """What a linear model gets exactly right."""
    temp = np.random.default_rng(3).normal(size=(count, 1))
    label = 5.0 * temp[:, 0] if kind is LabelKind.REGRESSION else (temp[:, 0] > 0) * 1.0
    return Rows(np.arange(count), temp, np.zeros((count, 0), dtype=object), label)


def outcome(trials):
    """Without what a clock says."""
    return [replace(trial, cpu_seconds=0.0, seconds=0.0) for trial in trials]


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
    assert one.trials[0].parameters_json == '{"alpha": 1.0}'
    assert outcome(one.trials) == outcome(other.trials)
    assert outcome(one.trials) != outcome(choose(replace(job, seed=9), straight_rows()).trials)
    complete = [trial for trial in one.trials if trial.state == COMPLETE]
    best = min(complete, key=lambda trial: trial.loss)
    assert one.ranked[0].described_json == best.parameters_json


def test_a_search_measures_where_enough_rows_lie_before_to_calibrate_by():
    """Of 160 rows only the newest fifth has a hundred and more before it; of 110 none has."""
    calibrated = Options(calibration="platt")
    job = a_job("logistic", kind=LabelKind.BINARY, trials=4, options=calibrated)
    train = straight_rows(160, LabelKind.BINARY)
    assert len(folds_of(job, train)) == 1
    assert len(folds_of(replace(job, options=Options()), train)) == 3
    assert len(choose(job, train).trials) == 4
    few = choose(job, straight_rows(110, LabelKind.BINARY))
    assert (len(few.ranked), few.trials) == (1, ())
    assert "too few" in few.notes[0]


def test_a_search_stops_at_its_timeout_with_what_it_has():
    choice = choose(a_job("linear", trials=50, timeout_seconds=0.0), straight_rows())
    assert len(choice.trials) == len(choice.ranked) == 1
    assert "after 1 of 50 trials" in choice.notes[0]


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


def test_a_search_that_was_cut_off_goes_on_as_it_would_have_gone_and_repeats_nothing():
    job, rows = a_job("linear", trials=12, seed=4), noisy_rows()
    told = []
    whole = choose(job, rows, told.append)
    assert tuple(told) == whole.trials
    for done in (0, 1, 7, 12):
        again = []
        rest = choose(replace(job, finished=whole.trials[:done]), rows, again.append)
        assert [trial.number for trial in again] == list(range(done + 1, 13))
        assert outcome(rest.trials) == outcome(whole.trials)
        assert rest.ranked == whole.ranked


def test_what_an_attempt_that_was_cut_off_has_spent_counts():
    job, rows = a_job("linear", trials=12, timeout_seconds=60.0), noisy_rows()
    done = tuple(replace(trial, seconds=61.0) for trial in choose(job, rows).trials[:3])
    assert len(choose(replace(job, finished=done), rows).trials) == 3


def test_hopeless_trials_are_given_up_after_the_newest_fold_and_never_win():
    choice = choose(a_job("linear", trials=25), noisy_rows())
    pruned = [trial for trial in choice.trials if trial.state == PRUNED]
    complete = [trial for trial in choice.trials if trial.state == COMPLETE]
    assert pruned
    assert all(len(trial.steps) < 3 for trial in pruned)
    assert {len(trial.steps) for trial in complete} == {3}
    best = min(complete, key=lambda trial: (trial.loss, trial.number))
    assert choice.ranked[0].described_json == best.parameters_json


def noisy_rows(count=200, seed=5):
    """A line, and noise."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(count, 1))
    label = 5.0 * numbers[:, 0] + random.normal(size=count)
    return Rows(np.arange(count), numbers, np.zeros((count, 0), dtype=object), label)


def turned_rows(count=600):
    """After three fifths the world turns round."""
    rows = noisy_rows(count)
    labels = np.where(np.arange(count) < count * 3 // 5, -rows.labels, rows.labels)
    return replace(rows, labels=labels)


def test_after_a_drift_the_search_finds_how_much_past_helps():
    choice = choose(a_job("linear", trials=20), turned_rows())
    best = choice.ranked[0]
    assert best.past.share < 0.5 or (best.past.half_life or 1.0) < 0.3
    assert "as the search found" in best.notes[0]
    everything = choice.trials[0].loss  # the default learns all of it
    assert min(trial.loss for trial in choice.trials if trial.state == COMPLETE) < everything / 2


def test_what_won_before_is_tried_right_after_the_defaults():
    first = choose(a_job("linear", trials=20), turned_rows())
    best = min(
        (trial for trial in first.trials if trial.state == COMPLETE), key=lambda each: each.loss
    )
    job = a_job("linear", trials=4, seed=77, earlier=(best, best))
    second = choose(job, turned_rows())
    assert json.loads(second.trials[1].parameters_json) == json.loads(best.parameters_json)
    assert second.trials[1].loss == best.loss
    assert second.trials[2].parameters_json != second.trials[1].parameters_json


def test_what_won_before_and_does_not_fit_any_more_is_left_out():
    earlier = choose(a_job("linear", trials=4), noisy_rows()).trials[1]
    changed = replace(earlier.winner, parameters_json='{"other": 1}')
    gone = replace(earlier.winner, algorithm="gone")
    job = a_job("linear", trials=5)
    trials = tuple(replace(earlier, winner=each) for each in (changed, gone, None))
    rows = noisy_rows()
    assert outcome(choose(replace(job, earlier=trials), rows).trials) == outcome(
        choose(job, rows).trials
    )


def test_columns_that_help_nothing_are_done_without():
    rows = noisy_rows(300)
    noise = np.random.default_rng(8).normal(size=(300, 25))
    rows = replace(rows, numbers=np.column_stack([rows.numbers, noise]))
    names = ("temp", *(f"noise{place}" for place in range(25)))
    job = replace(a_job("linear", trials=10), numbers=names)
    last = choose(job, rows).trials[-1]
    assert last.winner.without
    assert set(last.winner.without) <= set(names[1:])
    model = Recipe(ALGORITHMS["linear"], {"alpha": 1.0}, without=last.winner.without).fit(job, rows)
    moved = rows.numbers.copy()
    moved[:, [names.index(name) for name in last.winner.without]] += 100.0
    one, other = model.scores(rows), model.scores(replace(rows, numbers=moved))
    np.testing.assert_allclose(one.values, other.values)


def test_what_won_without_some_columns_is_tried_right_after_the_defaults_with_all():
    rows = noisy_rows(300)
    noise = np.random.default_rng(8).normal(size=(300, 7))
    rows = replace(rows, numbers=np.column_stack([rows.numbers, noise]))
    numbers = ("temp", *(f"noise{place}" for place in range(7)))
    job = replace(a_job("linear", "k_nearest", trials=10), numbers=numbers)
    *others, last = choose(job, rows).trials
    best = min((each for each in others if each.state == COMPLETE), key=lambda each: each.loss)
    assert last.winner == replace(best.winner, without=last.winner.without)
    assert best.number > 2  # no defaults, which every search begins with

    second = choose(replace(job, trials=5, seed=77, earlier=(last,)), rows)

    assert second.trials[2].winner == best.winner


@given(
    st.integers(25, 300),
    st.integers(0, 80),
    st.lists(st.integers(0, 5), min_size=300, max_size=300),
)
def test_no_fold_learns_what_was_not_known_when_its_first_answer_was_due(count, delay, gaps):
    rows = straight_rows(count)
    rows = replace(rows, event_times=np.cumsum(gaps[:count]))
    folds = folds_of(replace(a_job("linear"), label_delay_us=delay), rows)
    for fold in folds:
        begins = fold.measured.event_times[0]
        assert (fold.learnt.event_times + delay <= begins).all()
    newer = [fold.measured.event_times[0] for fold in folds]
    assert newer == sorted(newer, reverse=True)
    assert sum(len(fold.measured) for fold in folds) <= count


def test_without_a_delay_everything_older_is_learnt():
    rows = straight_rows(100)
    [newest, *_] = folds_of(a_job("linear"), rows)
    assert (len(newest.learnt), len(newest.measured)) == (80, 20)
    assert len(known_by(rows, 50, 10)) == 41


def test_the_past_is_a_share_of_the_rows_or_fades():
    rows = straight_rows(100)
    assert len(Past(share=0.25).taken(rows, 200)) == 50
    assert Past(share=0.25).taken(rows, 200).event_times[-1] == 99
    assert len(Past(share=0.1).taken(rows, 100)) == 20  # the fewest that say anything
    weights = Past(half_life=0.1).weights(100, 200)
    assert weights[-1] == 1.0
    assert weights[-21] == pytest.approx(0.5)
    assert Past().weights(100, 200) is None


@pytest.mark.parametrize("name", ["xgboost", "linear", "random_forest"])
def test_what_fades_counts_less(name):
    job, rows = a_job(name), turned_rows(400)
    recipe = Recipe(ALGORITHMS[name], ALGORITHMS[name].defaults)
    fading = replace(recipe, past=Past(half_life=0.05))
    newest = rows.part(350, 400)
    errors = [
        np.abs(each.fit(job, rows).scores(newest).values - newest.labels).mean()
        for each in (recipe, fading)
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_kinds_space_can_be_searched(name):
    """Proposals have the parameters of the defaults, and go on from what was remembered."""
    algorithm, defaults = ALGORITHMS[name], ALGORITHMS[name].defaults
    study = Study((algorithm,), seed=3)
    for number in range(1, 15):
        trial, recipe = study.proposed(number)
        assert recipe.parameters.keys() == defaults.keys()
        for key, value in recipe.parameters.items():
            assert type(value) is type(defaults[key]), key
        result = as_if_measured(recipe, number)
        study.judged(trial, result)


@cache
def a_trial():
    [trial] = choose(
        a_job("linear", "linear", trials=2, timeout_seconds=0.0), straight_rows()
    ).trials
    return trial


def as_if_measured(recipe, number):
    return replace(a_trial(), number=number, algorithm=recipe.algorithm.name, loss=float(number))


def test_what_was_measured_before_is_not_fitted_again(monkeypatch):
    """A kind with few parameters is proposed twice sooner or later."""
    still = replace(
        ALGORITHMS["linear"], draw=lambda generator: {"alpha": 1.0 + generator.integers(2)}
    )
    monkeypatch.setitem(ALGORITHMS, "linear", still)
    fitted = []
    fit = Recipe.fit
    monkeypatch.setattr(
        Recipe, "fit", lambda self, *given: fitted.append(self) or fit(self, *given)
    )
    job, rows = a_job("linear", trials=9), noisy_rows()
    whole = choose(job, rows)
    different = {trial.winner for trial in whole.trials}
    assert len(different) < 9
    assert len({recipe.described_json for recipe in fitted}) == len(different)
    rest = choose(replace(job, finished=whole.trials[:5]), rows)
    assert outcome(rest.trials) == outcome(whole.trials)
