import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_artifacts.scorer import Scores
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.measuring.measure import (
    baseline_scores,
    better_probability,
    metrics_of,
    row_losses,
)

ABC = ("a", "b", "c")
RELIABILITY = {"calibration_error", "brier"}  # what `reliability_of` adds


def values(*numbers: float) -> Scores:
    return Scores(np.array(numbers), None)


def positives(*numbers: float) -> Scores:
    positive = np.array(numbers)
    return Scores(positive, np.column_stack([1 - positive, positive]))


def shares(*rows: tuple[float, ...]) -> Scores:
    probabilities = np.array(rows)
    return Scores(np.argmax(probabilities, axis=1).astype(float), probabilities)


def without_reliability(metrics):
    return {name: value for name, value in metrics.items() if name not in RELIABILITY}


def test_regression_is_measured_by_errors():
    found = metrics_of(LabelKind.REGRESSION, (), np.array([1.0, 2.0, 6.0]), values(1.0, 4.0, 5.0))
    assert found == pytest.approx({"mae": 1.0, "rmse": (5 / 3) ** 0.5, "r2": 1 - 5 / 14})


def test_binary_is_measured_by_ranks_and_probabilities():
    labels, scores = np.array([0.0, 0.0, 1.0, 1.0]), positives(0.1, 0.6, 0.5, 0.9)
    found = metrics_of(LabelKind.BINARY, ("0", "1"), labels, scores)
    assert without_reliability(found) == pytest.approx(
        {
            "accuracy": 0.75,
            "log_loss": -np.mean(np.log([0.9, 0.4, 0.5, 0.9])),
            "roc_auc": 0.75,
            "average_precision": 0.5 * 1 + 0.5 * 2 / 3,
        }
    )


def test_multiclass_is_measured_over_all_classes():
    labels = np.array(["a", "b", "c"], dtype=object)
    scores = shares((0.8, 0.1, 0.1), (0.2, 0.5, 0.3), (0.5, 0.2, 0.3))
    found = metrics_of(LabelKind.MULTICLASS, ABC, labels, scores)
    assert without_reliability(found) == pytest.approx(
        {
            "accuracy": 2 / 3,
            "log_loss": -np.mean(np.log([0.8, 0.5, 0.3])),
            "macro_f1": (2 / 3 + 1 + 0) / 3,
        }
    )


def test_what_one_class_or_one_value_cannot_tell_is_left_out():
    found = metrics_of(LabelKind.BINARY, ("0", "1"), np.zeros(3), positives(0.1, 0.2, 0.3))
    assert set(without_reliability(found)) == {"accuracy", "log_loss"}
    found = metrics_of(LabelKind.REGRESSION, (), np.ones(3), values(1.0, 2.0, 3.0))
    assert set(found) == {"mae", "rmse"}


def test_a_class_that_the_model_does_not_know_costs_as_much_as_one_it_denies():
    scores = shares((1.0, 0.0, 0.0), (1.0, 0.0, 0.0))
    losses = row_losses(LabelKind.MULTICLASS, ABC, np.array(["b", "new"], dtype=object), scores)
    assert losses[0] == losses[1] == pytest.approx(-np.log(1e-7))


def test_an_answer_that_is_no_number_is_the_worst_and_every_metric_stays_finite():
    labels = np.array([1.0, 2.0])
    found = metrics_of(LabelKind.REGRESSION, (), labels, values(np.nan, np.inf))
    assert found["mae"] > 1e99
    assert all(np.isfinite(value) for value in found.values())
    scores = positives(np.nan, 0.5)
    assert row_losses(LabelKind.BINARY, ("0", "1"), labels - 1, scores)[0] > 10
    assert set(metrics_of(LabelKind.BINARY, ("0", "1"), labels - 1, scores)) == {
        "accuracy",
        "log_loss",
    }


def test_the_baseline_knows_only_the_training_labels():
    mean = baseline_scores(LabelKind.REGRESSION, (), np.array([1.0, 3.0]), 2)
    assert mean.values.tolist() == [2.0, 2.0]
    share = baseline_scores(LabelKind.BINARY, ("0", "1"), np.array([0.0, 1.0, 1.0, 1.0]), 2)
    assert share.values.tolist() == [0.75, 0.75]
    labels = np.array(["b", "b", "a", "c"], dtype=object)
    majority = baseline_scores(LabelKind.MULTICLASS, ABC, labels, 1)
    assert majority.values.tolist() == [1.0]
    assert majority.probabilities.tolist() == [[0.25, 0.5, 0.25]]


def test_equal_losses_are_better_with_probability_one_half():
    losses = np.random.default_rng(1).random(200)
    assert better_probability(losses, losses, seed=3) == 0.5


def test_clearly_lower_losses_are_surely_better_and_higher_ones_surely_not():
    losses = np.random.default_rng(1).random(200)
    assert better_probability(losses * 0.8, losses, seed=3) == 1.0
    assert better_probability(losses, losses * 0.8, seed=3) == 0.0


def test_the_same_seed_gives_the_same_probability():
    random = np.random.default_rng(2)
    one, other = random.random(150), random.random(150)
    assert better_probability(one, other, seed=9) == better_probability(one, other, seed=9)


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 300))
def test_the_probability_and_its_opposite_sum_to_one(seed, rows):
    random = np.random.default_rng(seed)
    one, other = random.random(rows), random.random(rows)
    forth = better_probability(one, other, seed=5)
    assert 0.0 <= forth <= 1.0
    assert forth + better_probability(other, one, seed=5) == pytest.approx(1.0)


def test_an_advantage_in_one_stretch_of_time_is_trusted_less_than_one_spread_out():
    random = np.random.default_rng(4)
    together = np.zeros(400)
    together[:40] = 1.0
    spread = random.permutation(together)
    noise = random.normal(0.0, 0.1, 400)
    drawback = (
        0.06  # of the other rows; the advantage outweighs it, but comes from one stretch only
    )
    probability_together = better_probability(np.full(400, drawback) + noise, together + noise, 7)
    probability_spread = better_probability(np.full(400, drawback) + noise, spread + noise, 7)
    assert probability_together < probability_spread


def test_the_seed_alone_says_which_blocks_are_drawn():
    random = np.random.default_rng(12)
    losses = random.normal(size=300)
    other = losses + random.normal(0.05, 0.6, size=300)
    found = [better_probability(losses, other, seed) for seed in (1, 2, 3, 1, 2, 3)]
    assert found[:3] == found[3:]
    assert len(set(found)) > 1
