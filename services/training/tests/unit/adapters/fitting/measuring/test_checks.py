"""What a run measures for gates: skill that is lost, columns that tell too much, slices, blocks of neighbours."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_artifacts.scorer import Scores
from millrace_kernel.pipeline import Gate, LabelKind
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.measuring.blocks import automatic_block, block_for_a_test
from millrace_training.adapters.fitting.measuring.leaks import column_scores
from millrace_training.adapters.fitting.measuring.robustness import (
    Judge,
    judge_of,
    missing_drop,
    noise_drop,
    overfit,
    thinned,
)
from millrace_training.adapters.fitting.measuring.slices import MOST_SLICES, slices_of
from millrace_training.adapters.fitting.reading.rows import Rows

COUNT = 1_000


def job(kind=LabelKind.REGRESSION, by=(), numbers=("x", "y"), categories=("city",)):
    return FitJob(
        pipeline="p",
        pipeline_version=1,
        label_kind=kind,
        numbers=numbers,
        categories=categories,
        candidates=("xgboost",),
        dataset=Path("none"),
        train_on_last=100,
        holdout_last=10,
        gates=tuple(Gate("mae", max=1.0, by=name) for name in by),
    )


def rows(labels, x=None, y=None, city=None, count=COUNT):
    random = np.random.default_rng(8)
    x = random.normal(size=count) if x is None else x
    y = random.normal(size=count) if y is None else y
    city = random.choice(["a", "b"], count) if city is None else city
    return Rows(
        np.arange(count), np.column_stack([x, y]), np.array(city, dtype=object)[:, None], labels
    )


class Answering:
    """A model that answers as a function of the first column has it."""

    class signature:  # noqa: N801
        classes = ()

    def __init__(self, function):
        self.function = function

    def score(self, numbers, categories):
        return Scores(self.function(numbers[:, 0]), None)


def judge(function, train):
    return Judge(job(), Answering(function), train.labels, ())


def line(x):
    return np.nan_to_num(10.0 * x)


@pytest.fixture
def linear():
    x = np.random.default_rng(1).normal(size=COUNT)
    return rows(10.0 * x, x=x)


def test_skill_is_the_share_of_the_guess_that_is_taken_away(linear):
    assert judge(line, linear).skill(linear) == 1.0
    guess = judge(lambda x: np.full(len(x), linear.labels.mean()), linear)
    assert guess.skill(linear) == pytest.approx(0.0)
    assert judge(lambda x: -10 * x, linear).skill(linear) == pytest.approx(-1.0, abs=0.05)


def test_where_guessing_is_never_wrong_there_is_no_skill():
    constant = rows(np.ones(COUNT))
    assert judge(line, constant).skill(constant) is None
    assert overfit(judge(line, constant), constant, constant) is None
    assert noise_drop(judge(line, constant), constant) is None


def test_overfit_is_what_holds_only_for_rows_that_were_learnt(linear):
    x = np.random.default_rng(2).normal(size=COUNT)
    noise = rows(np.random.default_rng(3).normal(size=COUNT) * 10.0, x=x)
    assert overfit(judge(line, linear), linear, linear) == 0.0
    assert overfit(judge(line, linear), linear, noise) > 1.0


def test_a_steep_model_loses_more_by_noise_than_a_flat_one(linear):
    steps = judge(lambda x: line(np.round(x * 50) / 50 + 0.3 * np.sin(200 * x)), linear)
    lost = noise_drop(judge(line, linear), linear)
    assert 0.05 < lost < 0.2  # a tenth of the spread, and guessing is off by one spread
    assert noise_drop(steps, linear) != lost


def test_what_looks_at_one_column_loses_every_tenth_answer_when_values_are_missing(linear):
    assert missing_drop(judge(line, linear), linear) == pytest.approx(0.1, abs=0.03)
    deaf = judge(lambda x: np.zeros(len(x)), linear)
    assert missing_drop(deaf, linear) == pytest.approx(0.0)


@given(count=st.integers(1, 60), most=st.integers(1, 60))
def test_thinned_rows_keep_the_ends_and_the_order(count, most):
    whole = rows(np.arange(float(count)), count=count)
    some = thinned(whole, most)
    assert len(some) == min(count, most)
    assert list(some.labels) == sorted(set(some.labels))
    assert some.labels[0] == 0.0
    assert most == 1 or some.labels[-1] == count - 1


def test_a_column_that_is_the_label_scores_one_and_noise_nothing():
    x = np.random.default_rng(4).normal(size=COUNT)
    both = rows(np.exp(x), x=x)
    found = column_scores(job(), both, both)
    assert next(iter(found)) == "x"
    assert found["x"] > 0.99
    assert found["city"] < 0.2


@pytest.mark.parametrize(
    "leaky",
    [
        lambda labels: labels,
        lambda labels: -labels,
        lambda labels: np.where(labels == 1.0, np.nan, 0.0),  # known only of one of them
        lambda labels: np.where(labels == 1.0, 0.5, np.where(np.arange(COUNT) % 2, 0.0, 1.0)),
        # what is missing stands apart from the least
        lambda labels: np.where(labels == 1.0, np.nan, np.random.default_rng(9).random(COUNT)),
    ],
)
def test_whatever_way_a_column_tells_the_label_it_is_found(leaky):
    labels = (np.random.default_rng(5).random(COUNT) < 0.3) * 1.0
    told = rows(labels, x=leaky(labels))
    assert column_scores(job(LabelKind.BINARY), told, told)["x"] > 0.99


@pytest.mark.parametrize("kind", [LabelKind.BINARY, LabelKind.REGRESSION])
def test_a_column_that_tells_the_opposite_of_what_was_learnt_tells_nothing(kind):
    labels = (np.random.default_rng(5).random(COUNT) < 0.3) * 1.0
    labels = labels if kind is LabelKind.BINARY else labels + np.arange(COUNT)
    learnt, turned = rows(labels, x=labels), rows(labels, x=-labels + labels.max())
    assert column_scores(job(kind), learnt, turned)["x"] == 0.0


def test_a_category_that_is_the_class_is_found_and_an_identifier_is_not():
    labels = np.random.default_rng(6).choice(["a", "b", "c"], COUNT).astype(object)
    train = rows(labels, city=labels)
    assert column_scores(job(LabelKind.MULTICLASS), train, train)["city"] > 0.99
    first = rows(labels, city=[f"id-{n}" for n in range(COUNT)])
    later = rows(labels, city=[f"id-{n}" for n in range(COUNT, 2 * COUNT)])
    assert column_scores(job(LabelKind.MULTICLASS), first, later)["city"] == 0.0


def test_rows_of_one_class_tell_of_no_leak_and_fail_nothing():
    """So few of 20,000 labels are 1 that some evenly chosen rows hold none; an update's rows may all be alike."""
    count = 20_000
    chosen = np.linspace(0, count - 1, 5_000).astype(int)
    labels = np.where(np.isin(np.arange(count), chosen), 0.0, np.arange(count) % 4_000 == 2)
    rare = rows(labels, count=count)
    assert rare.labels.any()
    assert not thinned(rare, 5_000).labels.any()
    assert column_scores(job(LabelKind.BINARY), rare, rare)["x"] == 0.0
    same = rows(np.array(["a"] * COUNT, dtype=object))
    assert column_scores(job(LabelKind.MULTICLASS), same, same)["x"] == 0.0
    assert judge_of(job(LabelKind.BINARY), Answering(line), rare).classes == ("0", "1")
    assert judge_of(job(LabelKind.MULTICLASS), Answering(line), same).classes == ("a",)


def test_slices_are_of_the_columns_that_gates_name():
    labels = np.zeros(COUNT)
    cities = np.where(np.arange(COUNT) % 4 == 0, "", "rome")
    given_rows = rows(labels, city=cities)
    scores = Scores(np.where(cities == "", 2.0, 1.0), None)
    assert slices_of(job(), (), given_rows, scores) == ()
    found = slices_of(job(by=("city", "gone")), (), given_rows, scores)
    assert [(each.by, each.value, each.rows, each.metrics["mae"]) for each in found] == [
        ("city", "rome", 750, 1.0),
        ("city", "(missing)", 250, 2.0),
    ]


def test_a_number_is_parted_by_its_values_or_by_quarters():
    labels, scores = np.zeros(COUNT), Scores(np.ones(COUNT), None)
    few = np.where(np.arange(COUNT) % 10 == 0, np.nan, np.arange(COUNT) % 3)
    found = slices_of(job(by=("x",)), (), rows(labels, x=few), scores)
    assert sorted(each.value for each in found) == ["(missing)", "0", "1", "2"]
    many = slices_of(job(by=("x",)), (), rows(labels, x=np.arange(float(COUNT))), scores)
    assert [each.rows for each in many] == [250] * 4
    assert {each.value for each in many} >= {"0 to 249.75", "749.25 to 999"}


@given(column=st.lists(st.one_of(st.just(np.nan), st.floats(-1e6, 1e6)), min_size=1, max_size=80))
def test_every_row_is_in_exactly_one_slice(column):
    count = len(column)
    given_rows = rows(np.zeros(count), x=np.array(column), count=count)
    found = slices_of(job(by=("x",)), (), given_rows, Scores(np.ones(count), None))
    assert sum(each.rows for each in found) == count


def test_of_very_many_values_the_largest_slices_are_told():
    cities = np.array([f"c{n % 200}" for n in range(COUNT)])
    found = slices_of(
        job(by=("city",)), (), rows(np.zeros(COUNT), city=cities), Scores(np.ones(COUNT), None)
    )
    assert len(found) == MOST_SLICES


def test_a_binary_slice_tells_what_fairness_is_told_by():
    labels = np.array([1.0, 1.0, 0.0, 0.0] * 250)
    answers = np.array([0.9, 0.1, 0.9, 0.1] * 250)
    scores = Scores(answers, np.column_stack([1 - answers, answers]))
    (only,) = slices_of(
        job(LabelKind.BINARY, by=("city",)), ("0", "1"), rows(labels, city=["a"] * COUNT), scores
    )
    assert only.metrics["positive_share"] == 0.5
    assert only.metrics["positives"] == 500
    assert only.metrics["true_positive_share"] == 0.5


def test_a_block_is_as_long_as_neighbours_go_together():
    random = np.random.default_rng(7)
    noise = random.normal(size=2_000)
    walk = np.convolve(noise, np.ones(30), mode="same")
    assert automatic_block(noise) <= 5
    assert 15 <= automatic_block(walk) <= 150
    assert block_for_a_test(noise) == round(2_000**0.5)
    assert block_for_a_test(walk) == 2 * automatic_block(walk)


@given(values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200))
def test_a_block_is_never_longer_than_the_rows(values):
    assert 1 <= automatic_block(np.array(values)) <= len(values)
