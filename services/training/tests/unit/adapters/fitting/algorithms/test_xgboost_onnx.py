"""XGBoost's trees as ONNX: what the operator answers is what XGBoost answers, and what onnxmltools made of it."""

import warnings

import numpy as np
import onnxruntime
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.inspection import inspect_onnx
from millrace_training.adapters.fitting.algorithms.xgboost_onnx import onnx_of

KINDS = {
    "regression": {"objective": "reg:squarederror"},
    "absolute": {"objective": "reg:absoluteerror"},
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": 4},
    "quantiles": {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]},
    "one quantile": {"objective": "reg:quantileerror", "quantile_alpha": 0.9},
}


def grown(kind: str, seed: int, rows: int = 300, width: int = 5, rounds: int = 8, **settings):
    """A booster, and rows to try it on: among them missing values and values that stand on thresholds."""
    random = np.random.default_rng(seed)
    matrix = np.round(random.normal(size=(rows, width)), 1).astype(np.float32)
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    signal = np.nansum(matrix[:, :2], axis=1) + random.normal(size=rows)
    labels = {"binary": signal > 0.5, "multiclass": np.digitize(signal, [-1, 0, 1])}
    asked = KINDS[kind] | {"tree_method": "hist", "verbosity": 0, "nthread": 1} | settings
    data = xgboost.DMatrix(matrix, labels.get(kind, signal))
    return xgboost.train(asked, data, rounds), matrix


def answers(onnx: bytes, matrix) -> np.ndarray:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": matrix})[-1]


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 2**31),
    depth=st.integers(0, 7),
    lossguide=st.booleans(),
    gamma=st.sampled_from([0.0, 0.5, 100.0]),
)
@settings(max_examples=12)
def test_the_operator_answers_what_xgboost_answers(kind, seed, depth, lossguide, gamma):
    policy = {"grow_policy": "lossguide", "max_leaves": 9} if lossguide else {}
    booster, matrix = grown(kind, seed, max_depth=depth or 1, gamma=gamma, **policy)
    found = answers(onnx_of(booster, matrix.shape[1]), matrix)

    own = booster.inplace_predict(matrix)
    if kind == "binary":
        own = np.stack([1 - own, own], axis=1)
    np.testing.assert_allclose(found, own.reshape(found.shape), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "quantiles"])
def test_the_operator_answers_what_onnxmltools_made_answer(kind):
    """It takes all trees of several quantiles for the first's, so there it is no measure."""
    booster, matrix = grown(kind, 7, rounds=30, max_depth=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = [("input", FloatTensorType([None, matrix.shape[1]]))]
        theirs = convert_xgboost(booster, initial_types=inputs, target_opset=15)

    found = answers(onnx_of(booster, matrix.shape[1]), matrix)
    np.testing.assert_array_equal(found, answers(theirs.SerializeToString(), matrix))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_may_be_served_and_the_same_bytes_each_time(kind):
    booster, matrix = grown(kind, 3)
    content = onnx_of(booster, matrix.shape[1])

    inspect_onnx(content, matrix.shape[1])
    assert content == onnx_of(booster, matrix.shape[1])


def test_a_model_that_learnt_nothing_answers_its_base():
    booster, matrix = grown("regression", 1, gamma=1e9)
    found = answers(onnx_of(booster, matrix.shape[1]), matrix)

    assert np.ptp(found) == 0
    np.testing.assert_allclose(found[:, 0], booster.inplace_predict(matrix), rtol=1e-6)


def test_splits_on_categories_are_refused():
    random = np.random.default_rng(0)
    matrix = random.integers(0, 6, size=(200, 1)).astype(np.float32)
    labels = np.isin(matrix[:, 0], [1, 4]).astype(np.float32)
    data = xgboost.DMatrix(matrix, labels, feature_types=["c"], enable_categorical=True)
    asked = {"tree_method": "hist", "max_cat_to_onehot": 1, "verbosity": 0}
    booster = xgboost.train(asked, data, 2)

    with pytest.raises(UnreadableArtifactError, match="splits on categories"):
        onnx_of(booster, 1)
