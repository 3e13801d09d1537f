"""Calibration, balance, quantiles and intervals: what they promise, and that the ONNX form keeps it."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_artifacts.artifact import NativeFormat, Runtime, read_artifact, write_artifact
from millrace_artifacts.errors import InvalidSignatureError, UnreadableArtifactError
from millrace_artifacts.explain import UnexplainableError, load_explainer
from millrace_artifacts.scorer import load_scorer
from millrace_artifacts.signature import Encoding, Signature
from millrace_kernel.pipeline import LabelKind
from millrace_training.adapters.fitting.algorithms.calibrating import calibrated, shared_out
from millrace_training.adapters.fitting.algorithms.estimators import ALGORITHMS
from millrace_training.adapters.fitting.algorithms.task import Task
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import (
    FitJob,
    NoCandidateError,
    TooFewRowsError,
    Winner,
)
from millrace_training.adapters.fitting.measuring.reliability import brier, calibration_error
from millrace_training.adapters.fitting.options import Options
from millrace_training.adapters.fitting.shipping.finishing import fit_finished

ROWS = 1_500


@pytest.fixture(scope="module")
def a_job(tmp_path_factory):
    """Of 1500 rows the newest 300 are the holdout. Noise is larger where x is."""
    folder = tmp_path_factory.mktemp("finishing")

    def build(kind, candidate, **options):
        random = np.random.default_rng(7)
        numbers = random.normal(size=(ROWS, 3))
        raw = 3.0 * numbers[:, 0] + random.normal(size=ROWS) * (0.5 + np.abs(numbers[:, 1]))
        labels = {
            LabelKind.REGRESSION: raw,
            LabelKind.BINARY: (raw > 3.0) * 1.0,
            LabelKind.MULTICLASS: np.array(["a", "b", "c"])[np.digitize(raw, [-1.0, 3.0])],
        }[kind]
        path = folder / f"{kind}.parquet"
        table = {
            "event_id": [f"e{number:05d}" for number in range(ROWS)],
            "event_time_us": np.arange(ROWS) * 1_000_000,
            "numbers": numbers.tolist(),
            "categories": pa.array([[]] * ROWS, pa.list_(pa.string())),
            "label": labels,
        }
        pq.write_table(pa.table(table), path)
        job = FitJob("mill", 1, kind, ("x", "y", "z"), (), (candidate,), path, 5_000, 300)
        return replace(job, options=Options(**options))

    return build


CALIBRATED = [
    (LabelKind.BINARY, "xgboost", "platt"),
    (LabelKind.BINARY, "k_nearest", "isotonic"),
    (LabelKind.MULTICLASS, "hist_gradient_boosting", "isotonic"),
    (LabelKind.MULTICLASS, "logistic", "platt"),
]


@pytest.mark.parametrize(("kind", "candidate", "method"), CALIBRATED)
def test_what_is_calibrated_answers_alike_in_onnx_and_twice_the_same(
    a_job, kind, candidate, method
):
    job = a_job(kind, candidate, calibration=method)
    if candidate == "hist_gradient_boosting":  # a sixth of its trees err alike
        fewer = ALGORITHMS[candidate].defaults | {"max_iter": 15}
        job = replace(job, winner=Winner(candidate, json.dumps(fewer)))
    result = fit_candidates(job)
    artifact = read_artifact(result.artifact)
    assert artifact.model.only_onnx
    assert artifact.model.runtime is Runtime.ONNX
    assert artifact.model.parity.largest_difference < 1e-4
    assert result.metrics["calibration_error"] < 0.12
    scores = load_scorer(artifact).score(
        np.random.default_rng(1).normal(size=(50, 3)) * 9, [()] * 50
    )
    assert scores.probabilities.sum(axis=1) == pytest.approx(1.0)
    assert fit_candidates(job).artifact == result.artifact


def test_calibration_mends_an_overconfident_model(a_job):
    plain = fit_candidates(a_job(LabelKind.BINARY, "xgboost")).metrics
    for method in ("platt", "isotonic"):
        mended = fit_candidates(a_job(LabelKind.BINARY, "xgboost", calibration=method)).metrics
        assert mended["calibration_error"] < plain["calibration_error"]
        assert mended["log_loss"] < plain["log_loss"]
        assert mended["brier"] < plain["brier"]


def test_balance_finds_more_of_the_rare_class(a_job):
    def share(**options):
        job = a_job(LabelKind.BINARY, "logistic", **options)
        scorer = load_scorer(read_artifact(fit_candidates(job).artifact))
        rows = np.random.default_rng(3).normal(size=(500, 3))
        return float(np.mean(scorer.score(rows, [()] * 500).values > 0.5))

    assert share(balance=True) > 1.2 * share()


@pytest.mark.parametrize(
    ("candidate", "options"),
    [
        ("linear", {"interval": 0.9}),
        ("k_nearest", {"interval": 0.9}),
        ("online_linear", {"interval": 0.9}),
        ("xgboost", {"interval": 0.9, "quantiles": (0.1, 0.5, 0.9)}),
    ],
)
def test_an_interval_holds_its_share_of_the_truths_it_has_not_seen(a_job, candidate, options):
    job = a_job(LabelKind.REGRESSION, candidate, **options)
    result = fit_candidates(job)
    assert 0.83 < result.metrics["coverage"] < 0.97
    artifact = read_artifact(result.artifact)
    assert artifact.signature.interval == 0.9
    scorer = load_scorer(artifact)
    scores = scorer.score(np.random.default_rng(1).normal(size=(40, 3)), [()] * 40)
    assert (scores.interval[:, 0] <= scores.values).all()
    assert (scores.values <= scores.interval[:, 1]).all()
    assert scorer.for_rows() is None  # who answers single rows knows of no interval
    assert fit_candidates(job).artifact == result.artifact


def test_quantiles_part_the_truths_and_never_cross(a_job):
    levels = (0.1, 0.25, 0.5, 0.9)
    result = fit_candidates(a_job(LabelKind.REGRESSION, "xgboost", quantiles=levels))
    artifact = read_artifact(result.artifact)
    assert artifact.signature.quantiles == levels
    assert artifact.model.native.format is NativeFormat.UBJ
    random = np.random.default_rng(2)
    rows = random.normal(size=(2_000, 3))
    truths = 3.0 * rows[:, 0] + random.normal(size=2_000) * (0.5 + np.abs(rows[:, 1]))
    scores = load_scorer(artifact).score(rows, [()] * 2_000)
    assert (np.diff(scores.quantiles, axis=1) >= 0).all()
    assert (scores.quantiles[:, 2] == scores.values).all()
    below = np.mean(truths[:, np.newaxis] <= scores.quantiles, axis=0)
    assert below == pytest.approx(levels, abs=0.1)
    assert result.metrics["pinball_loss"] < 0.6
    with pytest.raises(UnexplainableError, match="answers quantiles"):
        load_explainer(artifact)


def test_what_is_calibrated_can_be_explained_as_the_model_before_it(a_job):
    job = a_job(LabelKind.BINARY, "xgboost", calibration="platt")
    explainer = load_explainer(read_artifact(fit_candidates(job).artifact))
    explained = explainer.explain(np.zeros((1, 3)), [()])
    assert abs(explained.contributions[0, 0, 0]) > abs(explained.contributions[0, 2, 0])


def test_an_artifact_whose_onnx_form_alone_is_calibrated_must_have_one_that_holds(a_job):
    artifact = read_artifact(
        fit_candidates(a_job(LabelKind.BINARY, "xgboost", calibration="platt")).artifact
    )
    assert read_artifact(write_artifact(artifact)) == artifact
    assert replace(artifact.model, prefers_native=True).runtime is Runtime.ONNX
    far = replace(artifact.model.parity, largest_difference=1.0)
    with pytest.raises(UnreadableArtifactError, match="only that form is calibrated"):
        replace(artifact.model, parity=far)


def test_a_calibrated_champion_is_not_updated(a_job):
    job = a_job(LabelKind.BINARY, "xgboost", calibration="platt")
    champion = fit_candidates(job).artifact
    with pytest.raises(NoCandidateError, match="an update would lose that"):
        fit_candidates(replace(job, champion=champion, update=True))


def test_candidates_that_answer_no_quantiles_are_left_out_with_a_reason(a_job):
    job = a_job(LabelKind.REGRESSION, "xgboost", quantiles=(0.1, 0.5, 0.9))
    result = fit_candidates(replace(job, candidates=("linear", "xgboost")))
    assert result.algorithm == "xgboost"
    assert "linear does not answer quantiles; xgboost does" in result.notes
    with pytest.raises(NoCandidateError, match="linear does not answer quantiles"):
        fit_candidates(replace(job, candidates=("linear",)))


def a_task(rows, kind=LabelKind.BINARY):
    random = np.random.default_rng(0)
    matrix = random.normal(size=(rows, 2)).astype(np.float32)
    return Task(matrix, (matrix[:, 0] > 0) * 1.0, kind, 2, 0, 1)


def test_of_too_few_rows_nothing_is_said_about_errors():
    with pytest.raises(TooFewRowsError, match="the newest 19 of 95 training rows"):
        fit_finished(ALGORITHMS["logistic"], a_task(95), {"C": 1.0}, Options(calibration="platt"))


def test_a_class_that_only_the_newest_rows_have_does_not_stop_the_calibration():
    task = a_task(200)
    targets = task.targets.copy()
    targets[165:] = 2.0
    fitted = fit_finished(
        ALGORITHMS["logistic"],
        replace(task, targets=targets, classes=3, kind=LabelKind.MULTICLASS),
        {"C": 1.0},
        Options(calibration="isotonic"),
    )
    answers = fitted.answers(task.matrix)
    assert answers.shape == (200, 3)
    assert np.isfinite(answers).all()


def test_quantiles_and_intervals_belong_to_regressions_and_have_a_middle():
    def made(kind=LabelKind.REGRESSION, classes=(), **extra):
        return Signature("mill", 1, ("x",), (), (), Encoding.ORDINAL, kind, classes, **extra)

    assert made(quantiles=(0.5, 0.9), interval=0.8).extras == 4
    for wrong in ({"quantiles": (0.9, 0.5)}, {"quantiles": (0.1, 0.9)}, {"interval": 1.0}):
        with pytest.raises(InvalidSignatureError, match=r"quantile|interval"):
            made(**wrong)
    with pytest.raises(InvalidSignatureError, match="only a regression"):
        made(LabelKind.BINARY, ("0", "1"), interval=0.9)


def test_reliability_numbers_by_hand():
    both = np.array([[0.2, 0.8], [0.2, 0.8], [0.9, 0.1], [0.9, 0.1]])
    truths = np.array([1.0, 0.0, 0.0, 0.0])
    # 0.8 said, 0.5 came; 0.1 said, 0 came; half of the rows each
    assert calibration_error(both, truths) == pytest.approx(0.5 * 0.3 + 0.5 * 0.1)
    assert brier(both, truths) == pytest.approx((0.04 + 0.64 + 0.01 + 0.01) / 4)
    three = np.array([[0.6, 0.3, 0.1], [0.1, 0.7, 0.2]])
    assert calibration_error(three, np.array([0.0, 2.0])) == pytest.approx(0.5 * 0.4 + 0.5 * 0.7)
    assert brier(three, np.array([0.0, -1.0])) == pytest.approx((0.16 + 0.09 + 0.01 + 0.54 + 1) / 2)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), method=st.sampled_from(["isotonic", "platt"]))
def test_a_map_grows_and_stays_between_nothing_and_certainty(seed, method):
    random = np.random.default_rng(seed)
    column = random.beta(0.5, 0.5, size=(60, 1))
    came = random.random((60, 1)) < column**2
    mapped = calibrated(method, column, came).mapped(np.linspace(0.0, 1.0, 101)[:, np.newaxis])
    assert (np.diff(mapped[:, 0]) >= -1e-12).all()
    assert (mapped >= 0.0).all()
    assert (mapped <= 1.0).all()
    assert shared_out(mapped).sum(axis=1) == pytest.approx(1.0)
