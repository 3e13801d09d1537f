"""What the model section may ask of its models, and what it may not."""

import json

import pytest

from millrace_contracts.pipeline_file import (
    PipelineFileError,
    pipeline_from_json,
    pipeline_to_json,
    read_pipeline,
)
from millrace_kernel.pipeline import Trigger

EXTRA = "sklearn.ensemble.ExtraTreesClassifier"


def a_file(kind="regression", model="{}", on="[drift]"):
    return f"""
metadata: {{name: bikes}}
spec:
  event: {{id: id, time: timestamp}}
  fields: {{temp: float}}
  label: {{field: cnt, kind: {kind}}}
  model: {model}
  retraining: {{on: {on}}}
"""


@pytest.mark.parametrize(
    ("kind", "model", "written"),
    [
        (
            "regression",
            "{quantiles: [0.1, 0.5, 0.9], interval: 0.9}",
            {"quantiles": [0.1, 0.5, 0.9], "interval": 0.9},
        ),
        (
            "binary",
            f"{{candidates: [k_nearest, {EXTRA}], parameters: {{{EXTRA}: {{n_estimators: 9}}}}, calibration: platt, balance: true}}",
            {"parameters": {EXTRA: {"n_estimators": 9}}, "calibration": "platt", "balance": True},
        ),
        ("multiclass", "{candidates: [online_logistic, hist_gradient_boosting]}", {}),
        (
            "multiclass",
            "{candidates: [command:own, xgboost], parameters: {command:own: {depth: 3}}}",
            {"candidates": ["command:own", "xgboost"], "parameters": {"command:own": {"depth": 3}}},
        ),
    ],
)
def test_what_is_asked_travels_with_the_pipeline(kind, model, written):
    pipeline = read_pipeline(a_file(kind, model))
    text = pipeline_to_json(pipeline)
    assert pipeline_from_json(text) == pipeline
    assert written.items() <= json.loads(text)["spec"]["model"].items()


def test_a_file_that_asks_for_none_of_it_is_written_as_before():
    for model in ("{}", "{calibration: none, balance: false, parameters: {}}"):
        kind = "binary" if model != "{}" else "regression"
        written = json.loads(pipeline_to_json(read_pipeline(a_file(kind, model))))["spec"]["model"]
        assert set(written) == {"candidates", "train_on", "holdout", "search", "seed"}


@pytest.mark.parametrize(
    ("kind", "model", "on", "complaint"),
    [
        ("regression", "{calibration: platt}", "[drift]", "does not go with a regression label"),
        ("regression", "{balance: true}", "[drift]", "does not go with a regression label"),
        ("binary", "{interval: 0.9}", "[drift]", "does not go with a binary label"),
        ("binary", "{quantiles: [0.1, 0.5]}", "[drift]", "does not go with a binary label"),
        ("regression", "{quantiles: [0.5, 0.1]}", "[drift]", "does not grow"),
        ("regression", "{quantiles: [0.1, 0.9]}", "[drift]", "lacks 0.5"),
        ("regression", "{interval: 1.5}", "[drift]", "is too large"),
        (
            "regression",
            "{candidates: [linear], quantiles: [0.1, 0.5]}",
            "[drift]",
            "linear does not answer quantiles",
        ),
        ("regression", "{interval: 0.9}", "[update]", "says update, and updated trees lose"),
        (
            "regression",
            "{candidates: [linear]}",
            "[drift, update]",
            "says update, and linear is not updated; remove update here, or add xgboost or online_linear",
        ),
        (
            "binary",
            "{candidates: [logistic, command:own, sklearn.svm.SVC]}",
            "[update]",
            "says update, and logistic, command:own, sklearn.svm.SVC are not updated",
        ),
        ("regression", "{parameters: {a.B: {c: 1}}}", "[drift]", "is not among the candidates"),
        ("regression", "{parameters: {xgboost: {c: 1}}}", "[drift]", "has parameters of its own"),
        ("regression", "{parameters: {xgboost: {c: [1]}}}", "[drift]", "neither a number, a text"),
        ("regression", "{parameters: {xgboost: 1}}", "[drift]", "is not given a mapping"),
        ("regression", "{parameters: [1]}", "[drift]", "is not a mapping"),
        ("regression", "{candidates: [xgbost]}", "[drift]", "did you mean 'xgboost'?"),
        ("regression", "{candidates: ['a..B']}", "[drift]", "is not a name as it must be here"),
        ("regression", "{candidates: [5]}", "[drift]", "5 is not one of xgboost"),
        (
            "regression",
            "{candidates: ['command:rm -rf']}",
            "[drift]",
            "is not a name as it must be here",
        ),
        ("regression", "{candidates: ['command:']}", "[drift]", "is not a name as it must be here"),
        ("regression", "{candidates: ['order:own']}", "[drift]", "is not one of xgboost"),
        (
            "regression",
            "{candidates: [command:own], quantiles: [0.1, 0.5]}",
            "[drift]",
            "command:own does not answer quantiles",
        ),
        ("regression", "{candidates: [online_logistic]}", "[drift]", "the models for regression"),
    ],
)
def test_what_does_not_suit_is_said(kind, model, on, complaint):
    with pytest.raises(PipelineFileError) as raised:
        read_pipeline(a_file(kind, model, on))
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("regression", "{}"),
        ("regression", "{candidates: [linear, online_linear]}"),
        ("binary", "{candidates: [logistic, xgboost], balance: true}"),
        ("multiclass", "{candidates: [online_logistic], calibration: none}"),
    ],
)
def test_where_one_candidate_is_updated_update_may_be_asked_for(kind, model):
    """Which of them will be the champion is not known yet."""
    assert Trigger.UPDATE in read_pipeline(a_file(kind, model, "[update]")).retraining.on


def test_a_trigger_that_no_candidate_answers_is_told_of_at_its_own_place():
    with pytest.raises(PipelineFileError) as raised:
        read_pipeline(a_file("binary", "{candidates: [logistic]}", "[update]"))
    [problem] = raised.value.problems
    assert (problem.line, problem.column, problem.path) == (8, 16, "spec.retraining.on")
