"""Fields of free text in the pipeline file."""

from pathlib import Path

import pytest

from millrace_contracts.pipeline_file import (
    PipelineFileError,
    pipeline_digest,
    pipeline_from_json,
    pipeline_to_json,
    pipeline_to_yaml,
    read_pipeline,
)
from millrace_kernel.pipeline import TextReading, VectorKind

FILE = """metadata: {name: reviews}
spec:
  event: {id: id, time: at}
  fields: {town: category, review: FIELD, stars: int}
  label: {field: content, kind: binary}
  model: MODEL
GATES
"""


def a_file(field: str = "text", model: str = "{}", gates: str = "") -> str:
    return FILE.replace("FIELD", field).replace("MODEL", model).replace("GATES", gates)


@pytest.mark.parametrize(
    "text",
    [
        a_file(),
        a_file("{type: text, max_bytes: 300, required: false}"),
        a_file(model="{text: {words: [1, 1], characters: [3, 5], buckets: 1024}}"),
        a_file("string", "{text: {buckets: 64}}"),
    ],
)
def test_what_is_written_is_read_again(text):
    pipeline = read_pipeline(text, version=3)
    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline
    assert read_pipeline(pipeline_to_yaml(pipeline), version=3) == pipeline


def test_a_text_stands_among_the_categories():
    pipeline = read_pipeline(a_file())
    assert [feature.name for feature in pipeline.categories] == ["town", "review"]
    assert pipeline.texts == ("review",)
    assert pipeline.categories[1].kind is VectorKind.TEXT
    assert [field.max_bytes for field in pipeline.fields] == [None, 8192, None]
    assert pipeline.model.text == TextReading((1, 2), (), 512)


def test_a_text_that_is_no_feature_can_still_be_computed_from():
    pipeline = read_pipeline(a_file("{type: text, feature: false}"))
    assert pipeline.texts == ()
    assert [field.name for field in pipeline.text_fields] == ["town", "review"]


def test_files_without_text_keep_their_digest():
    """What is not asked for is not written."""
    without = read_pipeline(a_file("string"))
    assert "buckets" not in pipeline_to_json(without)
    assert "max_bytes" not in pipeline_to_json(without)
    assert pipeline_digest(without) != pipeline_digest(read_pipeline(a_file()))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (a_file("{type: category, max_bytes: 3}"), "line 4: spec.fields.review.max_bytes: "),
        (a_file("{type: text, max_bytes: 100000}"), "line 4: spec.fields.review.max_bytes: "),
        (a_file(model="{text: {buckets: 5000}}"), "line 6: spec.model.text.buckets: "),
        (a_file(model="{text: {words: [2, 1]}}"), "line 6: spec.model.text.words: [2, 1] is not"),
        (a_file(model="{text: {words: [1]}}"), "line 6: spec.model.text.words: [1] is not"),
        (a_file(model="{text: {words: []}}"), "line 6: spec.model.text: leaves nothing"),
        (a_file(model="{fallback: review}"), "line 6: spec.model.fallback: "),
        (
            a_file(gates="  gates: [{slice: {by: review, metric: accuracy, worst: 0.5}}]"),
            "line 7: spec.gates[0].slice.by: 'review' is not a feature",
        ),
    ],
)
def test_what_is_wrong_is_said(text, said):
    with pytest.raises(PipelineFileError) as error:
        read_pipeline(text)
    assert said in str(error.value)


def test_a_training_sets_columns_are_bounded():
    fields = ", ".join(f"text_{number}: text" for number in range(9))
    text = a_file(model="{text: {buckets: 1000}}").replace("review: text", fields)
    with pytest.raises(PipelineFileError, match="makes 9000 columns of 9 text fields"):
        read_pipeline(text)


def test_an_encoder_reads_instead_of_hashing():
    pipeline = read_pipeline(a_file(model="{text: {encoder: small/words-1.onnx}}"), version=1)
    assert pipeline.model.text.encoder == "small/words-1.onnx"
    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("{text: {encoder: ../words.onnx}}", "spec.model.text.encoder: "),
        ("{text: {encoder: /etc/words.onnx}}", "spec.model.text.encoder: "),
        ("{text: {encoder: words.pkl}}", "spec.model.text.encoder: "),
        ("{text: {encoder: w.onnx, buckets: 64}}", "spec.model.text.buckets: does not go with"),
        ("{text: {encoder: w.onnx}}\n  retraining: {on: [update]}", "spec.retraining.on: says"),
    ],
)
def test_an_encoder_that_is_nowhere_allowed_is_refused(model, said):
    with pytest.raises(PipelineFileError) as error:
        read_pipeline(a_file(model=model))
    assert said in str(error.value)


WORDS = """metadata: {name: help}
spec:
  event: {id: id, time: at}
  fields: {prompt: FIELD, town: category}
  label: {field: reply, kind: text}
"""


def words(more: str = "", field: str = "text") -> str:
    return WORDS.replace("FIELD", field) + more


def test_a_label_in_words_is_answered_by_retrieval():
    pipeline = read_pipeline(
        words("  gates: [{metric: rouge_l, better_than: baseline}]\n"), version=1
    )
    assert pipeline.label.kind.is_text
    assert pipeline.model.candidates == ("retrieval",)
    assert pipeline.primary_metric == "rouge_l"
    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline
    assert read_pipeline(words("  model: {fallback: town}\n")).model.fallback == "town"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (words("  model: {candidates: [xgboost]}"), "candidates[0]: xgboost does not answer"),
        (words("  model: {candidates: [sklearn.dummy.DummyClassifier]}"), "candidates[0]: "),
        (words("  model: {balance: true}"), "spec.model.balance: does not go with a text label"),
        (words("  model: {interval: 0.9}"), "spec.model.interval: does not go with a text label"),
        (words("  model: {fallback: 3}"), "spec.model.fallback: 3.0 is not a text"),
        (words("  model: {fallback: prompt}"), "spec.model.fallback: "),
        (words("  gates: [{metric: mae, max: 3}]"), "spec.gates[0].metric: "),
        (words("  gates: [{metric: leak, max: 0.5}]"), "spec.gates[0].metric: "),
        (words("  retraining: {on: [update]}"), "spec.retraining.on: says update"),
        (words(field="string"), "spec.label.kind: needs a prompt"),
        (words(field="{type: text, learn: false}"), "spec.label.kind: needs a prompt"),
        (words("  features: [{name: m, agg: mean, of: label, window: 7d}]"), "is a text"),
    ],
)
def test_what_a_label_in_words_cannot_have_is_said(text, said):
    with pytest.raises(PipelineFileError) as error:
        read_pipeline(text)
    assert said in str(error.value)


def test_retrieval_answers_nothing_but_words():
    with pytest.raises(PipelineFileError, match="retrieval"):
        read_pipeline(a_file(model="{candidates: [retrieval]}"))


@pytest.mark.parametrize("name", ["pipeline.yaml", "replies.yaml"])
def test_the_examples_are_read(name):
    path = Path(__file__).parents[3] / "examples" / "reviews" / name
    pipeline = read_pipeline(path.read_text(), version=1)
    assert pipeline.texts
    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline
