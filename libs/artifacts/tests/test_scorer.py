import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from millrace_artifacts.artifact import (
    Example,
    Model,
    Native,
    NativeFormat,
    Parity,
    read_artifact,
    write_artifact,
)
from millrace_artifacts.errors import (
    ExamplesDifferError,
    UnreadableArtifactError,
    WrongColumnsError,
)
from millrace_artifacts.scorer import load_measured, load_scorer
from millrace_artifacts.signature import Encoding, Signature
from millrace_kernel.pipeline import LabelKind

AGREES = Parity(largest_difference=0.0, tolerance=1e-4, rows=10)
DIFFERS = Parity(largest_difference=0.5, tolerance=1e-4, rows=10)


def a_classifier(onnx, kind, classes):
    numbers = ("one", "two", "three")
    signature = Signature("irises", 1, numbers, (), (), Encoding.ORDINAL, kind, classes)
    return Model(signature, AGREES, onnx, None)


def test_a_regression_answers_values(an_artifact):
    scorer = load_scorer(read_artifact(write_artifact(an_artifact())))
    scores = scorer.score(np.array([[0.5, 0.2], [1.0, 0.0]]), [("clear",), ("rain",)])
    assert scores.values.dtype == np.float64
    assert scores.values.tolist() == [68.0, 70.0]
    assert scores.probabilities is None


def test_a_multiclass_model_answers_the_likeliest_class_and_all_probabilities(
    an_artifact, softmax_of
):
    model = a_classifier(softmax_of(3, 3), LabelKind.MULTICLASS, ("a", "b", "c"))
    scorer = load_scorer(an_artifact(model=model, measured=None, examples=()))
    scores = scorer.score(np.array([[0.0, 5.0, 1.0], [9.0, 0.0, 0.0]]), ())
    assert scores.values.tolist() == [1.0, 0.0]
    assert scores.probabilities.shape == (2, 3)
    assert scores.probabilities.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_a_binary_model_answers_the_probability_of_the_positive_class(an_artifact, softmax_of):
    model = a_classifier(softmax_of(3, 2), LabelKind.BINARY, ("0", "1"))
    scorer = load_scorer(an_artifact(model=model, measured=None, examples=()))
    scores = scorer.score(np.array([[0.0, 1.0, 0.0]]), ())
    assert scores.values == pytest.approx([np.e / (1 + np.e)])
    assert scores.probabilities[:, 1].tolist() == scores.values.tolist()
    assert scores.probabilities.sum() == pytest.approx(1.0)


def test_no_rows_get_no_answers(an_artifact, softmax_of):
    scores = load_scorer(an_artifact()).score(np.empty((0, 2)), [])
    assert scores.values.shape == (0,)
    model = a_classifier(softmax_of(3, 3), LabelKind.MULTICLASS, ("a", "b", "c"))
    scorer = load_scorer(an_artifact(model=model, measured=None, examples=()))
    assert scorer.score(np.empty((0, 3)), ()).probabilities.shape == (0, 3)


def test_the_measured_model_answers_for_comparisons(an_artifact):
    artifact = an_artifact()
    row = np.array([[1.0, 0.0]]), [("clear",)]
    assert load_measured(artifact).score(*row).values.tolist() == [108.0]
    assert load_measured(replace(artifact, measured=None)).score(*row).values.tolist() == [120.0]


def test_missing_numbers_in_examples_are_scored_as_missing(an_artifact):
    example = Example((None, 0.0), ("clear",), 0.0, ())
    with pytest.raises(ExamplesDifferError, match="nan"):
        load_scorer(an_artifact(examples=(example,)))


def test_a_model_that_does_not_answer_its_examples_is_refused(an_artifact):
    examples = an_artifact().examples
    near = replace(examples[0], value=examples[0].value * (1 + 1e-5))
    far = replace(examples[0], value=examples[0].value * (1 + 1e-3))
    load_scorer(an_artifact(examples=(near, *examples[1:])))
    with pytest.raises(ExamplesDifferError, match="train again"):
        load_scorer(an_artifact(examples=(far, *examples[1:])))


def test_what_onnx_runtime_refuses_is_unreadable(an_artifact):
    artifact = an_artifact()
    with pytest.raises(UnreadableArtifactError, match="not an ONNX model"):
        load_scorer(replace(artifact, model=replace(artifact.model, onnx=b"no model")))
    unknown = artifact.model.onnx.replace(b"intercept", b"somewhere", 1)
    with pytest.raises(UnreadableArtifactError, match="ONNX Runtime"):
        load_scorer(replace(artifact, model=replace(artifact.model, onnx=unknown)))


def test_a_model_of_another_width_than_its_signature_is_refused(an_artifact, softmax_of):
    artifact = an_artifact()
    with pytest.raises(UnreadableArtifactError, match="3 columns"):
        load_scorer(replace(artifact, model=replace(artifact.model, onnx=softmax_of(4, 2))))


def test_rows_of_another_width_are_refused(an_artifact):
    with pytest.raises(WrongColumnsError):
        load_scorer(an_artifact()).score(np.zeros((1, 3)), [("clear",)])


def test_xgboost_answers_where_the_onnx_form_differed(an_artifact):
    import xgboost

    random = np.random.default_rng(7)
    rows = random.normal(size=(200, 3)).astype(np.float32)
    data = xgboost.QuantileDMatrix(rows, rows @ np.array([1.0, 2.0, 3.0]), nthread=1)
    booster = xgboost.train({"nthread": 1, "max_depth": 2}, data, 5)
    native = Native(NativeFormat.UBJ, bytes(booster.save_raw("ubj")))
    model = Model(an_artifact().signature, DIFFERS, None, native)
    artifact = an_artifact(model=model, measured=None, examples=())
    scorer = load_scorer(read_artifact(write_artifact(artifact)))
    scores = scorer.score(rows[:, :2].astype(np.float64), [("clear",)] * 200)
    expected = booster.inplace_predict(
        np.column_stack([rows[:, :2], np.zeros(200, dtype=np.float32)])
    )
    assert scores.values == pytest.approx(expected, rel=1e-6)

    broken = replace(model, native=Native(NativeFormat.UBJ, b"{broken"))
    with pytest.raises(UnreadableArtifactError, match="XGBoost"):
        load_scorer(replace(artifact, model=broken))


def test_importing_and_reading_loads_no_model_library():
    program = """
import sys
import millrace_artifacts.artifact, millrace_artifacts.native, millrace_artifacts.scorer
import millrace_artifacts.signature, millrace_artifacts.store
heavy = {"onnx", "onnxruntime", "pandas", "scipy", "skl2onnx", "sklearn", "skops", "xgboost"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
