"""What training makes of free text, serving answers: over HTTP, gRPC's body and on the stream, alike."""

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.ids import EntityId, EventId
from millrace_kernel.time import Instant
from millrace_serving.adapters.engine import ArtifactModel
from millrace_serving.domain.columns import Columns, rows_of
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.domain.events import FeaturesComputed
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.options import options_of

ROWS = 300
FILE = """
apiVersion: millrace/v1
kind: Pipeline
metadata: {name: reviews}
spec:
  event: {id: id, time: at}
  fields: {review: text, town: category, stars: int}
  label: {field: content, kind: binary}
  model: {candidates: [logistic], text: {words: [1, 2], buckets: 64}}
"""
PIPELINE = read_pipeline(FILE, version=1)
LONG = "a very long review indeed " * 100 + " lovely"


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory) -> ArtifactModel:
    random = np.random.default_rng(7)
    content = random.random(ROWS) < 0.5
    words = np.where(content, "lovely", "awful")
    lines = [f"the {random.choice(['bike', 'bell'])} is {word}" for word in words]
    path = tmp_path_factory.mktemp("answers") / "dataset.parquet"
    table = {
        "event_id": [f"e{number:05d}" for number in range(ROWS)],
        "event_time_us": np.arange(ROWS) * 1_000_000,
        "numbers": [[3.0]] * ROWS,
        "categories": pa.array([[line, "Ulm"] for line in lines]),
        "label": content * 1.0,
    }
    pq.write_table(pa.table(table), path)
    job = FitJob(
        "reviews",
        1,
        PIPELINE.label.kind,
        tuple(feature.name for feature in PIPELINE.numbers),
        tuple(feature.name for feature in PIPELINE.categories),
        PIPELINE.model.candidates,
        path,
        5_000,
        60,
        options=options_of(PIPELINE),
    )
    return trained(job)


@pytest.fixture
def serving(serve, model):
    return serve(PIPELINE, model)


def question(*reviews: str | None, town: str = "Ulm") -> dict:
    shape = [len(reviews)]
    return {
        "inputs": [
            {"name": "review", "shape": shape, "datatype": "BYTES", "data": list(reviews)},
            {"name": "town", "shape": shape, "datatype": "BYTES", "data": [town] * len(reviews)},
            {"name": "stars", "shape": shape, "datatype": "INT64", "data": [3] * len(reviews)},
        ]
    }


def test_what_is_written_is_answered_and_told_to_the_stream(serving):
    asked = ("The bell is LOVELY!", "the bike is awful", None, LONG)
    answered = serving.inference.answer("reviews", None, question(*asked))
    lovely, awful, nothing, long = answered.response["outputs"][0]["data"]

    assert lovely > 0.9 > 0.1 > awful
    assert awful < nothing < lovely
    assert long > nothing
    told = [prediction.vector.categories for prediction in answered.predictions]
    assert told == [(text or "", "Ulm") for text in asked]


def test_the_stream_gets_the_same_answers(serving, model):
    texts = ("The bell is LOVELY!", "the bike is awful", "", LONG)
    response = serving.inference.answer("reviews", None, question(*texts)).response
    vectors = [
        FeaturesComputed(
            pipeline=PIPELINE.name,
            pipeline_version=1,
            event_id=EventId(f"e{place}"),
            entity=EntityId("all"),
            event_time=Instant(1),
            numbers=(3.0,),
            categories=(text, "Ulm"),
        )
        for place, text in enumerate(texts)
    ]
    scores = model.score(rows_of(Columns.of(PIPELINE), vectors))
    assert scores.values is not None
    assert scores.values.tolist() == response["outputs"][0]["data"]


def test_no_plan_takes_it_on(serving):
    """A plan writes codes of categories into a row, and knows no words."""
    assert serving.plans.plan("reviews") is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (question("x" * 70_000), "'review' holds a text of more than 65536 bytes"),
        (question("ü" * 40_000), "'review' holds a text of more than 65536 bytes"),
        (question("fine", town="x" * 2_000), "'town' holds a text of more than 1000 characters"),
    ],
)
def test_what_would_not_fit_a_message_is_refused(serving, asked, said):
    with pytest.raises(RequestRefusedError, match=said):
        serving.inference.answer("reviews", None, asked)


def test_its_input_is_described_as_bytes(serving):
    described = serving.inference.metadata("reviews", None)["inputs"]
    assert {"name": "review", "datatype": "BYTES", "shape": [-1]} in orjson.loads(
        orjson.dumps(described)
    )
