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


def text(*gates: object, kind: str = "binary", **fields: object) -> str:
    spec = {
        "event": {"id": "id", "time": "at"},
        "fields": {"x": "float", "city": "category", "note": "string", **fields},
        "label": {"field": "y", "kind": kind},
        "gates": list(gates),
    }
    return json.dumps({"metadata": {"name": "tiny"}, "spec": spec})


def problem(*gates: object, kind: str = "binary", **fields: object) -> str:
    with pytest.raises(PipelineFileError) as caught:
        read_pipeline(text(*gates, kind=kind, **fields))
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
