"""The gates section: each form of gate, what is refused, and that files which use none of the newer ones stay what they were."""

import json

import pytest

from millrace_contracts.pipeline_file import (
    PipelineFileError,
    pipeline_digest,
    pipeline_from_json,
    pipeline_to_json,
    read_pipeline,
)
from millrace_kernel.pipeline import Gate, GateKind


def text(*gates: object, kind: str = "binary", model: object = None, **fields: object) -> str:
    spec = {
        "model": model or {},
        "event": {"id": "id", "time": "at"},
        "fields": {"x": "float", "city": "category", "note": "string", **fields},
        "label": {"field": "y", "kind": kind},
        "gates": list(gates),
    }
    return json.dumps({"metadata": {"name": "tiny"}, "spec": spec})


def problem(*gates: object, kind: str = "binary", model: object = None, **fields: object) -> str:
    with pytest.raises(PipelineFileError) as caught:
        read_pipeline(text(*gates, kind=kind, model=model, **fields))
    return "\n".join(str(each) for each in caught.value.problems)


DIGEST = "78b82464297a7fe419c5597c4726ece6107f98d2aff80b5f6ef5e2b757b9cfb4"
FORMS = [
    ({"metric": "leak", "max": 0.98}, Gate("leak", max=0.98), GateKind.BOUND),
    (
        {"metric": "log_loss", "better_than": "baseline"},
        Gate("log_loss", better_than="baseline", confidence=0.95),
        GateKind.BETTER,
    ),
    (
        {"slice": {"by": "city", "metric": "log_loss", "worst": 0.7}},
        Gate("log_loss", max=0.7, by="city", rows=50),
        GateKind.SLICE,
    ),
    (
        {"slice": {"by": "x", "metric": "accuracy", "worst": 0.7, "rows": 9}},
        Gate("accuracy", min=0.7, by="x", rows=9),
        GateKind.SLICE,
    ),
    (
        {"fairness": {"by": "city", "measure": "disparate_impact", "min": 0.8}},
        Gate("disparate_impact", min=0.8, by="city", rows=50),
        GateKind.FAIRNESS,
    ),
    (
        {"fairness": {"by": "city", "measure": "equal_opportunity", "max": 0.1, "rows": 20}},
        Gate("equal_opportunity", max=0.1, by="city", rows=20),
        GateKind.FAIRNESS,
    ),
    ({"schema": "match"}, Gate("schema"), GateKind.SCHEMA),
]


@pytest.mark.parametrize(("written", "gate", "kind"), FORMS)
def test_every_form_is_read_and_written_back(written, gate, kind):
    pipeline = read_pipeline(text(written))

    assert pipeline.gates == (gate,)
    assert pipeline.gates[0].kind is kind
    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline


def test_a_file_without_the_newer_forms_has_the_digest_it_had():
    """Computed before there were other gates than bounds and the champion's."""
    older = read_pipeline(
        text(
            {"metric": "log_loss", "max": 0.7},
            {"metric": "roc_auc", "better_than": "champion", "confidence": 0.9},
        )
    )

    assert pipeline_digest(older) == DIGEST


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({}, "says nothing to check"),
        ({"metric": "leak", "max": 1, "schema": "match"}, "says metric, schema"),
        ({"schema": "match", "max": 3}, "does not go with schema"),
        ({"schema": "exact"}, "write match"),
        ({"metric": "leak", "better_than": "champion"}, "leak is not compared with anything"),
        ({"metric": "leaks", "max": 1}, "did you mean 'leak'?"),
        ({"slice": {"by": "city", "worst": 1}}, "slice.metric: is missing"),
        ({"slice": {"by": "town", "metric": "accuracy", "worst": 1}}, "'town' is not a feature"),
        ({"slice": {"by": "note", "metric": "accuracy", "worst": 1}}, "make it a feature"),
        ({"slice": {"by": "city", "metric": "mae", "worst": 1}}, "'mae' is not one of"),
        ({"slice": {"by": "city", "metric": "accuracy", "worst": 1, "rows": 0}}, "at least 1"),
        ({"fairness": {"by": "city", "measure": "disparate_impact", "max": 0.8}}, "needs min"),
        ({"fairness": {"by": "city", "measure": "demographic_parity", "min": 0.8}}, "needs max"),
        ({"fairness": {"by": "city", "measure": "parity", "max": 0.1}}, "'parity' is not one of"),
        (
            {"fairness": {"by": "city", "measure": "demographic_parity", "max": 1.5}},
            "at most 1",
        ),
    ],
)
def test_what_is_no_gate_is_refused_with_what_to_write(gate, words):
    assert words in problem(gate)


def test_fairness_is_about_a_yes_or_no():
    fair = {"fairness": {"by": "city", "measure": "demographic_parity", "max": 0.1}}

    assert "does not go with a regression label" in problem(fair, kind="regression")


def test_calibration_is_of_probabilities():
    assert "calibration_error" in problem(
        {"metric": "calibration_error", "max": 0.1}, kind="regression"
    )


def test_the_primary_metric_is_the_first_that_scores_answers():
    checks = [{"metric": "leak", "max": 1}, {"schema": "match"}]
    fair = {"fairness": {"by": "city", "measure": "demographic_parity", "max": 0.1}}
    best = {"metric": "roc_auc", "min": 0.7}

    assert read_pipeline(text(*checks, fair)).primary_metric is None
    assert read_pipeline(text(*checks, fair, best)).primary_metric == "roc_auc"


def test_a_feature_that_no_model_looks_at_can_part_rows():
    sliced = {"slice": {"by": "sex", "metric": "accuracy", "worst": 0.5}}
    pipeline = read_pipeline(text(sliced, sex={"type": "category", "learn": False}))

    assert pipeline.unlearnt == ("sex",)
    assert [feature.name for feature in pipeline.categories] == ["city", "sex"]
    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline


def test_a_listed_feature_need_not_be_learnt_either():
    file = json.loads(text())
    file["spec"]["features"] = [{"name": "old", "expr": "x > 60", "learn": False}]
    pipeline = read_pipeline(json.dumps(file))

    assert pipeline.unlearnt == ("old",)
    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline


def test_learn_is_about_features():
    assert "learn" in problem(note={"type": "string", "learn": False})


def test_a_file_whose_features_are_all_unlearnt_has_nothing_to_learn():
    file = json.loads(text())
    unlearnt = {"learn": False}
    file["spec"]["fields"] = {
        "x": {"type": "float", **unlearnt},
        "city": {"type": "category", **unlearnt},
    }
    file["spec"]["features"] = [{"name": "old", "expr": "x > 60", **unlearnt}]

    with pytest.raises(PipelineFileError, match="all of them say learn: false"):
        read_pipeline(json.dumps(file))


BELIEVED = [
    ({"metric": "brier", "max": 0.2}, "binary", {}),
    ({"metric": "brier", "max": 0.4}, "multiclass", {}),
    ({"metric": "brier", "better_than": "baseline"}, "binary", {}),
    ({"metric": "pinball_loss", "max": 3}, "regression", {"quantiles": [0.1, 0.5]}),
    (
        {"metric": "pinball_loss", "better_than": "champion"},
        "regression",
        {"quantiles": [0.1, 0.5]},
    ),
    ({"metric": "coverage", "min": 0.85, "max": 0.99}, "regression", {"interval": 0.9}),
    ({"metric": "interval_width", "max": 40}, "regression", {"interval": 0.9}),
    (
        {"slice": {"by": "city", "metric": "coverage", "worst": 0.8}},
        "regression",
        {"interval": 0.9},
    ),
]


@pytest.mark.parametrize(("written", "kind", "model"), BELIEVED)
def test_what_says_how_far_answers_can_be_believed_is_a_metric(written, kind, model):
    pipeline = read_pipeline(text(written, kind=kind, model=model))

    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline
    assert pipeline.primary_metric is None  # live traffic is not watched by it


@pytest.mark.parametrize(
    ("written", "lower"), [("brier", True), ("coverage", False), ("interval_width", True)]
)
def test_a_slice_keeps_the_bound_that_the_metric_means(written, lower):
    kind = "binary" if written == "brier" else "regression"
    model = {} if written == "brier" else {"interval": 0.9}
    part = {"slice": {"by": "city", "metric": written, "worst": 0.5}}
    (gate,) = read_pipeline(text(part, kind=kind, model=model)).gates

    assert (gate.max, gate.min) == ((0.5, None) if lower else (None, 0.5))


@pytest.mark.parametrize(
    ("gate", "kind", "model", "words"),
    [
        ({"metric": "coverage", "min": 0.8}, "regression", {}, "add interval: 0.9 to model"),
        ({"metric": "pinball_loss", "max": 1}, "regression", {}, "add quantiles: [0.1, 0.5, 0.9]"),
        (
            {"slice": {"by": "city", "metric": "interval_width", "worst": 9}},
            "regression",
            {"quantiles": [0.1, 0.5]},
            "slice.metric: interval_width is of the interval that no model is asked for",
        ),
        ({"metric": "coverage", "min": 0.8}, "binary", {}, "'coverage' is not one of accuracy,"),
        ({"metric": "brier", "max": 1}, "regression", {}, "'brier' is not one of mae, rmse, r2,"),
        (
            {"metric": "interval_width", "better_than": "champion"},
            "regression",
            {"interval": 0.9},
            "interval_width is not compared with the champion",
        ),
        (
            {"metric": "pinball_loss", "better_than": "baseline"},
            "regression",
            {"quantiles": [0.1, 0.5]},
            "pinball_loss is not compared with the baseline",
        ),
        ({"metric": "f1", "max": 1}, "binary", {}, "is not one of mae, rmse, r2, pinball_loss"),
    ],
)
def test_what_no_run_of_the_file_measures_is_refused_with_what_there_is(gate, kind, model, words):
    assert words in problem(gate, kind=kind, model=model)
