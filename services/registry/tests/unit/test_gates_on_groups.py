"""Gates on slices, fairness, the naive baseline, leaks and the schema: what passes, and what the evidence says."""

import math
from dataclasses import replace

import pytest

from millrace_kernel.evidence import Evidence, ModelSchema, NaiveBaseline, SliceMetrics
from millrace_kernel.pipeline import Fairness, Gate
from millrace_registry.domain.gates import judge

BY_REGION = Gate("mae", max=60, by="region", rows=50)


@pytest.fixture
def verdict(file, training):
    def of(gate, evidence, **changes):
        (only,) = judge(replace(file(), gates=(gate,)), training(evidence=evidence, **changes), 0)
        return only

    return of


def part(value, rows=100, by="region", **metrics):
    return SliceMetrics(by, value, rows, metrics)


def group(value, share, rows=100, positives=60.0, true=None):
    metrics = {"positive_share": share, "positives": positives}
    return SliceMetrics(
        "sex", value, rows, metrics | ({} if true is None else {"true_positive_share": true})
    )


def slices(*parts):
    return Evidence(slices=parts)


@pytest.mark.parametrize(("worst", "passes"), [(60.0, True), (60.1, False)])
def test_the_worst_slice_keeps_the_bound(verdict, worst, passes):
    told = verdict(BY_REGION, slices(part("north", mae=40.0), part("west", mae=worst)))

    assert told.passed is passes
    assert told.gate == "mae <= 60 in every slice by region"
    assert told.evidence == f"worst is region 'west': mae is {worst:g} on 100 rows, of 2 slices"


def test_of_a_metric_that_should_be_high_the_lowest_is_the_worst(verdict):
    gate = Gate("accuracy", min=0.7, by="region", rows=50)

    assert verdict(gate, slices(part("a", accuracy=0.9), part("b", accuracy=0.7))).passed
    told = verdict(gate, slices(part("a", accuracy=0.9), part("b", accuracy=0.6)))
    assert not told.passed
    assert "region 'b': accuracy is 0.6" in told.evidence


def test_a_slice_of_few_rows_decides_nothing_and_is_told_of(verdict):
    told = verdict(BY_REGION, slices(part("a", mae=40.0), part("b", rows=49, mae=500.0)))

    assert told.passed
    assert "1 of too few rows (under 50) not counted" in told.evidence


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ((), "measured no slices by region"),
        ((part("a", by="sex", mae=1.0),), "measured no slices by region"),
        ((part("a", rows=12, mae=1.0),), "the largest, 'a', has 12"),
        ((part("a", rmse=1.0),), "none of 1 slices"),
    ],
)
def test_without_a_slice_to_judge_the_gate_fails(verdict, measured, words):
    told = verdict(BY_REGION, slices(*measured))

    assert not told.passed
    assert words in told.evidence


FAIR = {
    Fairness.DEMOGRAPHIC_PARITY: {"max": 0.1},
    Fairness.EQUAL_OPPORTUNITY: {"max": 0.1},
    Fairness.DISPARATE_IMPACT: {"min": 0.8},
}


@pytest.mark.parametrize(
    ("measure", "low", "high", "passes"),
    [
        (Fairness.DEMOGRAPHIC_PARITY, 0.4, 0.5, True),
        (Fairness.DEMOGRAPHIC_PARITY, 0.4, 0.52, False),
        (Fairness.DISPARATE_IMPACT, 0.4, 0.5, True),
        (Fairness.DISPARATE_IMPACT, 0.39, 0.5, False),
        (Fairness.DISPARATE_IMPACT, 0.0, 0.0, True),
        (Fairness.DISPARATE_IMPACT, 0.0, 0.1, False),
    ],
)
def test_the_shares_of_groups_are_held_against_each_other(verdict, measure, low, high, passes):
    gate = Gate(measure, by="sex", rows=50, **FAIR[measure])
    told = verdict(gate, slices(group("f", low), group("m", high)))

    assert told.passed is passes or math.isclose(high - low, 0.1)  # on the bound rounding decides
    assert f"sex 'f' {low:.1%} of 100" in told.evidence
    assert f"sex 'm' {high:.1%} of 100" in told.evidence


def test_equal_opportunity_looks_only_at_those_who_deserve_it(verdict):
    gate = Gate(Fairness.EQUAL_OPPORTUNITY, max=0.1, by="sex", rows=50)
    same = slices(group("f", 0.1, true=0.85), group("m", 0.9, true=0.9))
    other = slices(group("f", 0.5, true=0.5), group("m", 0.5, true=0.9))

    assert verdict(gate, same).passed
    assert not verdict(gate, other).passed
    few = slices(group("f", 0.5, true=0.1, positives=49.0), group("m", 0.5, true=0.9))
    told = verdict(gate, few)
    assert told.passed
    assert "1 of too few rows" in told.evidence


def test_of_many_groups_the_ends_are_named(verdict):
    gate = Gate(Fairness.DEMOGRAPHIC_PARITY, max=0.1, by="sex", rows=50)
    told = verdict(gate, slices(*(group(str(n), n / 100) for n in range(10, 22))))

    assert not told.passed
    assert "sex '10' 10.0%" in told.evidence
    assert "sex '21' 21.0%" in told.evidence
    assert "and 7 between" in told.evidence


BETTER = Gate("mae", better_than="baseline", confidence=0.9)


@pytest.mark.parametrize(
    ("theirs", "probability", "passes"),
    [(60.0, 0.95, True), (60.0, 0.89, False), (50.0, 0.95, False), (40.0, 0.95, False)],
)
def test_a_model_must_beat_who_knows_nothing(verdict, theirs, probability, passes):
    told = verdict(BETTER, Evidence(baseline=NaiveBaseline("mean", {"mae": theirs}, probability)))

    assert told.passed is passes
    assert told.gate == "mae better than baseline (0.9)"
    assert f"against {theirs:g} of the naive baseline (mean)" in told.evidence


def test_a_baseline_that_was_not_measured_is_not_beaten(verdict):
    assert not verdict(BETTER, Evidence()).passed
    assert not verdict(BETTER, Evidence(baseline=NaiveBaseline("mean", {}, 1.0))).passed


def test_a_leak_is_told_with_the_columns_to_look_at(verdict):
    scores = {"refunded": 0.99, "temp": 0.4, "hour": 0.3, "more": 0.2}
    gate = Gate("leak", max=0.9)
    told = verdict(gate, Evidence(column_scores=scores), metrics={"leak": 0.99})

    assert not told.passed
    assert "(refunded 0.99, temp 0.4, hour 0.3)" in told.evidence


SCHEMA = Gate("schema")
FITS = ModelSchema(("temp",), (), "regression", ())


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (FITS, ""),
        (replace(FITS, numbers=()), ""),
        (None, "did not tell"),
        (replace(FITS, numbers=("temp", "hum")), "number columns ['hum']"),
        (replace(FITS, numbers=(), categories=("temp",)), "category columns ['temp']"),
        (
            replace(FITS, label_kind="binary"),
            "answers a binary label, the pipeline's is regression",
        ),
    ],
)
def test_a_candidate_eats_what_the_pipeline_computes(verdict, schema, words):
    told = verdict(SCHEMA, Evidence(schema=schema))

    assert told.passed is (not words)
    assert words in told.evidence
