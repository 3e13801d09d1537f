"""Measured quality: the metrics are scikit-learn's, the windows tumble, the bound is the tolerated one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from millrace_kernel.pipeline import LabelKind
from millrace_kernel.time import Instant
from millrace_monitoring.domain import quality
from millrace_monitoring.domain.quality import (
    Pair,
    QualityWindow,
    Tally,
    counted,
    error_of,
    is_worse,
    metrics_of,
    ranking_metrics,
    update,
    worst_tolerated,
)


def pairs(answers: list[float] | list[str], truths: list[float] | list[str]) -> list[Pair]:
    return [
        Pair(answer, truth, Instant(at))
        for at, (answer, truth) in enumerate(zip(answers, truths, strict=True))
    ]


def tally(kind: LabelKind, given: list[Pair]) -> Tally:
    total = Tally()
    for pair in given:
        total = counted(total, kind, pair)
    return total


def test_regression_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truths = rng.normal(1e6, 3, 500)
    answers = truths + rng.normal(0, 1, 500)

    found = metrics_of(
        tally(LabelKind.REGRESSION, pairs(answers.tolist(), truths.tolist())), LabelKind.REGRESSION
    )

    assert found == pytest.approx(
        {
            "mae": metrics.mean_absolute_error(truths, answers),
            "rmse": metrics.root_mean_squared_error(truths, answers),
            "r2": metrics.r2_score(truths, answers),
        }
    )


def test_binary_metrics_are_those_of_scikit_learn_ties_included() -> None:
    rng = np.random.default_rng(2)
    truths = rng.integers(0, 2, 400)
    answers = np.round(np.clip(truths * 0.3 + rng.random(400) * 0.7, 0, 1), 1)
    given = pairs(answers.tolist(), truths.astype(float).tolist())

    window, report = QualityWindow(), None
    for pair in given:
        window, report = update(window, LabelKind.BINARY, pair, len(given))

    assert report is not None
    assert report.metrics == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(truths, answers >= 0.5),
            "log_loss": metrics.log_loss(truths, answers),
            "roc_auc": metrics.roc_auc_score(truths, answers),
            "average_precision": metrics.average_precision_score(truths, answers),
        }
    )


def test_multiclass_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    truths = rng.choice(["a", "b", "c"], 300).tolist()
    answers = [
        truth if rng.random() < 0.6 else str(rng.choice(["a", "b", "never true"]))
        for truth in truths
    ]

    found = metrics_of(tally(LabelKind.MULTICLASS, pairs(answers, truths)), LabelKind.MULTICLASS)

    assert found == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(truths, answers),
            "macro_f1": metrics.f1_score(truths, answers, average="macro"),
        }
    )


def test_what_is_not_defined_is_left_out() -> None:
    assert metrics_of(Tally(), LabelKind.REGRESSION) == {}
    assert "r2" not in metrics_of(
        tally(LabelKind.REGRESSION, pairs([1.0, 2.0], [3.0, 3.0])), LabelKind.REGRESSION
    )
    assert ranking_metrics([(0.1, True), (0.9, True)]) == {}
    huge = tally(LabelKind.REGRESSION, pairs([1e308, -1e308], [-1e308, 1e308]))
    assert all(math.isfinite(value) for value in metrics_of(huge, LabelKind.REGRESSION).values())


def test_a_sure_and_wrong_answer_costs_much_but_not_infinitely_much() -> None:
    found = metrics_of(tally(LabelKind.BINARY, pairs([0.0], [1.0])), LabelKind.BINARY)

    assert found["log_loss"] == pytest.approx(-math.log(1e-7))


@pytest.mark.parametrize(
    ("kind", "answer", "truth", "error"),
    [
        (LabelKind.REGRESSION, 3.0, 5.0, 2.0),
        (LabelKind.BINARY, 0.9, 0.0, 0.9),
        (LabelKind.MULTICLASS, "a", "a", 0.0),
        (LabelKind.MULTICLASS, "a", "b", 1.0),
    ],
)
def test_the_error_of_an_answer(
    kind: LabelKind, answer: float | str, truth: float | str, error: float
) -> None:
    assert error_of(kind, Pair(answer, truth, Instant(0))) == error


@given(
    truths=st.lists(st.floats(-1e6, 1e6), max_size=100),
    size=st.integers(1, 20),
)
def test_windows_tile_the_pairs_each_counted_once(truths: list[float], size: int) -> None:
    window, reports = QualityWindow(), []
    for pair in pairs([0.0] * len(truths), truths):
        window, report = update(window, LabelKind.REGRESSION, pair, size)
        if report:
            reports.append(report)

    assert [report.events for report in reports] == [size] * (len(truths) // size)
    assert window.events == len(truths) % size
    assert [(report.first, report.last) for report in reports] == [
        (start, start + size - 1) for start in range(0, len(truths) - size + 1, size)
    ]
    for number, report in enumerate(reports):
        part = [abs(truth) for truth in truths[number * size : (number + 1) * size]]
        assert report.metrics["mae"] == pytest.approx(sum(part) / size)


def test_ranking_looks_at_the_newest_pairs_of_a_huge_window_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quality, "RANKED_AT_MOST", 4)
    window = QualityWindow()
    for pair in pairs([0.9, 0.1, 0.2, 0.8, 0.7, 0.3], [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]):
        window, report = update(window, LabelKind.BINARY, pair, 6)

    assert report is not None
    assert report.metrics["roc_auc"] == 1.0  # the first two alone are the wrong way round
    assert report.metrics["accuracy"] == pytest.approx(4 / 6)


def test_worse_is_more_of_an_error_and_less_of_a_score() -> None:
    assert worst_tolerated("mae", 8.0, 0.25) == 10.0
    assert is_worse("mae", 10.1, 10.0)
    assert not is_worse("mae", 10.0, 10.0)
    assert worst_tolerated("roc_auc", 0.8, 0.25) == pytest.approx(0.6)
    assert is_worse("roc_auc", 0.59, 0.6)
    assert worst_tolerated("r2", -0.4, 0.25) == pytest.approx(-0.5)
