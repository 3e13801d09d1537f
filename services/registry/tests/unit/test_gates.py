"""What a candidate must prove, and the words in which it is told."""

import math
from dataclasses import replace

import pytest

from millrace_kernel.pipeline import Gate
from millrace_registry.domain.gates import in_words, judge

AT_MOST = Gate("mae", max=100)
BETTER = Gate("mae", better_than="champion", confidence=0.9)


@pytest.fixture
def verdict(file):
    def of(gate, training, champion=0):
        (only,) = judge(replace(file(), gates=(gate,)), training, champion)
        return only

    return of


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (AT_MOST, "mae <= 100"),
        (Gate("r2", min=0.25), "r2 >= 0.25"),
        (Gate("mae", min=1, max=2), "mae >= 1 and mae <= 2"),
        (BETTER, "mae better than champion (0.9)"),
        (Gate("mae", better_than="champion"), "mae better than champion (0.95)"),
    ],
)
def test_a_gate_in_words(gate, words):
    assert in_words(gate) == words


@pytest.mark.parametrize(
    ("mae", "passes"), [(99.9, True), (100.0, True), (100.1, False), (math.nan, False)]
)
def test_a_bound_belongs_to_what_passes(verdict, training, mae, passes):
    assert verdict(AT_MOST, training(metrics={"mae": mae})).passed is passes


@pytest.mark.parametrize(("r2", "passes"), [(0.5, True), (0.4, False)])
def test_a_lower_bound(verdict, training, r2, passes):
    assert verdict(Gate("r2", min=0.5), training(metrics={"r2": r2})).passed is passes


def test_the_evidence_has_the_numbers(verdict, training):
    assert (
        verdict(AT_MOST, training(metrics={"mae": 113.25})).evidence == "mae is 113.25 on 100 rows"
    )


def test_a_metric_that_was_not_measured_fails(verdict, training):
    assert "measured no mae" in verdict(AT_MOST, training(metrics={"rmse": 1.0})).evidence


def test_without_a_champion_there_is_nothing_to_be_better_than(verdict, training):
    assert verdict(BETTER, training(), champion=0).passed


def compared(training, **changes):
    return training(
        **{
            "champion_version": 3,
            "champion_metrics": {"mae": 60.0},
            "better_probability": 0.95,
            **changes,
        }
    )


def test_better_with_confidence_passes_and_says_how_sure(verdict, training):
    told = verdict(BETTER, compared(training), champion=3)

    assert told.passed
    assert told.evidence == (
        "mae is 50 against 60 of version 3 on the same 100 rows; its loss is lower with probability 0.95"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"better_probability": 0.89},
        {"better_probability": math.nan},
        {"metrics": {"mae": 60.0}},
        {"metrics": {"mae": 61.0}},
        {"champion_metrics": {}},
    ],
)
def test_better_needs_the_confidence_and_the_metric(verdict, training, changes):
    assert not verdict(BETTER, compared(training, **changes), champion=3).passed


def test_a_metric_that_should_be_high_is_compared_the_other_way(verdict, training):
    gate = Gate("r2", better_than="champion", confidence=0.9)
    better = compared(training, metrics={"r2": 0.9}, champion_metrics={"r2": 0.8})
    worse = compared(training, metrics={"r2": 0.8}, champion_metrics={"r2": 0.9})

    assert verdict(gate, better, champion=3).passed
    assert not verdict(gate, worse, champion=3).passed


@pytest.mark.parametrize(
    ("compared_with", "words"), [(2, "compared with version 2"), (0, "compared with none")]
)
def test_a_comparison_with_who_no_longer_answers_proves_nothing(
    verdict, training, compared_with, words
):
    told = verdict(
        BETTER,
        compared(training, champion_version=compared_with, better_probability=1.0),
        champion=3,
    )

    assert not told.passed
    assert words in told.evidence
    assert "version 3 answers since" in told.evidence
