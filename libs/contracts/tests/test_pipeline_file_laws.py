"""Laws of reading pipeline files: what is written is read back, and whatever else there is, is refused in words."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contracts.pipeline_file import (
    PipelineFileError,
    pipeline_digest,
    pipeline_from_json,
    pipeline_to_json,
    pipeline_to_yaml,
    read_pipeline,
)
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import DAY

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20
)
DURATIONS = st.integers(1, 400 * DAY)
SHARES = st.floats(0.001, 0.999)


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    """Pipelines made from the documentation's, with every kind of value varied."""
    fields = draw(
        st.dictionaries(NAMES, st.sampled_from(["float", "int", "bool"]), min_size=1, max_size=5)
    )
    fields.pop("label", None)
    fields["plain"] = "float"
    document = {
        "metadata": {
            "name": draw(st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)),
            "owner": draw(TEXTS),
            "description": draw(TEXTS),
        },
        "spec": {
            "event": {"id": draw(TEXTS), "time": draw(TEXTS)},
            "fields": fields,
            "features": [
                {"name": "zz_listed", "agg": "sum", "of": "plain", "window": f"{draw(DURATIONS)}us"}
            ],
            "label": {
                "field": "the label",
                "kind": "binary",
                "delay": f"{draw(DURATIONS)}us",
                "positive": draw(TEXTS),
            },
            "model": {"fallback": draw(st.none() | SHARES | st.just("plain"))},
            "gates": [{"metric": "log_loss", "max": draw(st.floats(-1e300, 1e300))}],
            "monitoring": {"concept_drift": {"delta": draw(SHARES)}},
        },
    }
    return read_pipeline(json.dumps(document), version=draw(st.integers(0, 9)))


@given(pipelines())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(pipeline):
    assert pipeline_from_json(pipeline_to_json(pipeline)) == pipeline
    assert read_pipeline(pipeline_to_yaml(pipeline), version=pipeline.version) == pipeline
    assert pipeline_digest(replace(pipeline, version=99)) == pipeline_digest(pipeline)


@given(st.text() | st.text("[]{}:,-&*!|>'\"#%@` \n\tab1.~?"))
@settings(max_examples=150, deadline=None)
def test_arbitrary_text_is_refused_with_problems_and_nothing_else(text):
    for read in (read_pipeline, pipeline_from_json):
        with pytest.raises(PipelineFileError) as caught:
            read(text)
        assert caught.value.problems


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1h", "mean", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = st.sampled_from(
    [
        "metadata",
        "source",
        "event",
        "fields",
        "features",
        "label",
        "model",
        "gates",
        "promotion",
        "monitoring",
        "retraining",
    ]
)
INNER = st.sampled_from(
    [
        "name",
        "expr",
        "agg",
        "of",
        "window",
        "on",
        "schedule",
        "type",
        "metric",
        "max",
        "fallback",
        "search",
        "kind",
        "delay",
        "x",
    ]
)


@given(
    PLACES,
    VALUES | st.dictionaries(INNER, VALUES) | st.lists(st.dictionaries(INNER, VALUES), max_size=2),
)
@settings(max_examples=150, deadline=None)
def test_any_value_anywhere_is_read_or_refused(a_file, place, value):
    document = json.loads(a_file())
    (document if place == "metadata" else document["spec"])[place] = value
    for read in (read_pipeline, pipeline_from_json):
        try:
            read(json.dumps(document))
        except PipelineFileError as error:
            assert error.problems  # noqa: PT017 either outcome is right
