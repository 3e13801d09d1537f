"""The confidence sequence: what it covers, how rarely it lies, and how soon it knows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_monitoring.domain.sequences import (
    NO_EVIDENCE,
    Evidence,
    bounds,
    counted,
    is_above_zero,
    is_below_zero,
)

DIFFERENCES = st.lists(st.floats(-1, 1), max_size=60)
CONFIDENCE = 0.99


def after(differences, evidence: Evidence = NO_EVIDENCE) -> Evidence:
    for difference in differences:
        evidence = counted(evidence, difference)
    return evidence


def first_proof(differences, proves) -> int | None:
    """How many differences it took; None: it was never proven."""
    evidence = NO_EVIDENCE
    for number, difference in enumerate(differences, 1):
        evidence = counted(evidence, difference)
        if proves(evidence, CONFIDENCE):
            return number
    return None


@given(DIFFERENCES)
def test_the_bounds_hold_the_mean_and_stay_within_what_is_possible(differences):
    evidence = after(differences)
    lower, upper = bounds(evidence, CONFIDENCE)

    assert -1 <= lower <= evidence.mean <= upper <= 1


@given(DIFFERENCES, st.sampled_from([0.9, 0.99]))
def test_a_proof_is_a_bound_beyond_zero(differences, confidence):
    evidence = after(differences)
    lower, upper = bounds(evidence, confidence)

    if abs(lower) > 1e-9:
        assert is_above_zero(evidence, confidence) == (lower > 0)
    if abs(upper) > 1e-9:
        assert is_below_zero(evidence, confidence) == (upper < 0)


@given(DIFFERENCES)
def test_what_speaks_for_one_speaks_against_the_other(differences):
    evidence, mirrored = after(differences), after([-one for one in differences])

    lower, upper = bounds(evidence, CONFIDENCE)
    assert bounds(mirrored, CONFIDENCE) == pytest.approx((-upper, -lower), abs=1e-12)


@given(DIFFERENCES)
@settings(max_examples=30)
def test_more_confidence_takes_wider_bounds(differences):
    evidence = after(differences)
    (low, high), (lower, higher) = bounds(evidence, 0.9), bounds(evidence, 0.999)

    assert lower <= low
    assert higher >= high


@pytest.mark.parametrize("wrong", [1.01, -2.0, float("nan")])
def test_what_is_beyond_its_bounds_is_refused(wrong):
    with pytest.raises(ValueError, match="scale and clip"):
        counted(NO_EVIDENCE, wrong)


def heavy(rng, count):
    """Mostly nothing, now and then all there is: the hardest case for a bound that estimates the variance."""
    return np.where(rng.random(count) < 0.02, 1.0, -0.02 / 0.98).clip(-1, 1)


NULLS = {
    "coin": lambda rng, count: rng.choice([-1.0, 1.0], count),
    "narrow": lambda rng, count: rng.normal(0, 0.1, count).clip(-1, 1),
    "skewed": heavy,
    "skewed the other way": lambda rng, count: -heavy(rng, count),
    "changing": lambda rng, count: rng.normal(0, np.linspace(0.02, 0.4, count)).clip(-1, 1),
    "dependent": lambda rng, count: rng.choice([-1, 1], count) * (np.sin(np.arange(count)) ** 2),
}


@pytest.mark.parametrize("null", NULLS)
def test_equal_versions_are_hardly_ever_proven_different_though_one_looks_at_every_label(null):
    """A promise of 0.5 % for each side, however long one looks: false promotions in 300 trials of 400 labels."""
    rng = np.random.default_rng(7)
    promoted = rejected = 0
    for _ in range(300):
        differences = NULLS[null](rng, 400).tolist()
        promoted += first_proof(differences, is_above_zero) is not None
        rejected += first_proof(differences, is_below_zero) is not None

    assert promoted < 3
    assert rejected < 3


def test_the_truth_is_covered_at_all_times_together():
    rng = np.random.default_rng(11)
    missed = 0
    for _ in range(200):
        mean, evidence = rng.uniform(-0.3, 0.3), NO_EVIDENCE
        outside = False
        for number, difference in enumerate(rng.normal(mean, 0.3, 200), 1):
            evidence = counted(evidence, min(max(difference, -1.0), 1.0))
            if number % 10 == 0:
                lower, upper = bounds(evidence, 0.9)
                outside = outside or not lower <= mean <= upper
        missed += outside

    assert missed / 200 <= 0.1


@pytest.mark.parametrize(
    ("mean", "spread", "enough"), [(0.05, 0.2, 1200), (0.1, 0.2, 500), (0.5, 0.5, 120)]
)
def test_a_difference_is_found_soon(mean, spread, enough):
    """The power that the bounds leave: 90 of 100 trials end within so many labels."""
    rng = np.random.default_rng(3)
    took = [
        first_proof(rng.normal(mean, spread, enough).clip(-1, 1).tolist(), is_above_zero)
        for _ in range(100)
    ]

    assert sum(one is not None for one in took) >= 90
    assert first_proof([-mean] * enough, is_above_zero) is None
