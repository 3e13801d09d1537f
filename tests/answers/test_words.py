"""A label in words through serving and monitoring: prompts and responses as versioned predictions, and how good they were."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_contracts.pipeline_file import read_pipeline
from millrace_proto.v1.predictions_pb2 import PredictionMade as PredictionMadeProto
from millrace_serving.adapters.engine import ArtifactModel
from millrace_serving.adapters.wire import encode_prediction_made
from millrace_serving.entrypoints.bodies import answer_of as http_body
from millrace_serving.entrypoints.grpc_messages import answer_of as grpc_message
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.options import options_of

ROWS = 100
FILE = """
metadata: {name: help}
spec:
  event: {id: id, time: at}
  fields: {prompt: text, greeting: category}
  label: {field: reply, kind: text}
  model: {fallback: greeting, text: {buckets: 64}}
"""
PIPELINE = read_pipeline(FILE, version=1)
LONG = "Choose a new password. " * 300  # 7 KB: longer than any category may be


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory) -> ArtifactModel:
    path = tmp_path_factory.mktemp("words") / "dataset.parquet"
    asked = ["i forgot my password", "where is my parcel"]
    table = {
        "event_id": [f"e{number:05d}" for number in range(ROWS)],
        "event_time_us": np.arange(ROWS) * 1_000_000,
        "numbers": pa.array([[]] * ROWS, pa.list_(pa.float64())),
        "categories": pa.array([[asked[number % 2], "Hello!"] for number in range(ROWS)]),
        "label": [(LONG, "It is on its way — bald!")[number % 2] for number in range(ROWS)],
    }
    pq.write_table(pa.table(table), path)
    job = FitJob(
        "help",
        1,
        PIPELINE.label.kind,
        (),
        tuple(feature.name for feature in PIPELINE.categories),
        PIPELINE.model.candidates,
        path,
        5_000,
        20,
        options=options_of(PIPELINE),
    )
    return trained(job)


QUESTION = {
    "inputs": [
        {
            "name": "prompt",
            "shape": [3],
            "datatype": "BYTES",
            "data": ["My PASSWORD?", "the parcel", None],
        },
        {"name": "greeting", "shape": [3], "datatype": "BYTES", "data": ["Hi"] * 3},
    ]
}


@pytest.fixture
def inference(serve, model):
    return serve(PIPELINE, model).inference


def test_a_prompt_is_answered_in_words(inference):
    answered = inference.answer("help", None, QUESTION)
    [output] = answered.response["outputs"]

    assert (output["name"], output["datatype"], output["shape"]) == ("text", "BYTES", [3])
    assert output["data"][:2] == [LONG, "It is on its way — bald!"]
    body, _ = http_body(answered.response, QUESTION)
    assert "bald" in body.decode()
    message = grpc_message(answered.response, raw=False)
    assert message.outputs[0].contents.bytes_contents[1].decode() == output["data"][1]
    assert inference.metadata("help", None)["outputs"] == [
        {"name": "text", "datatype": "BYTES", "shape": [-1]}
    ]


def test_prompt_and_response_travel_with_the_version_that_answered(inference):
    for prediction in inference.answer("help", None, QUESTION).predictions:
        content = encode_prediction_made(prediction)
        proto = PredictionMadeProto.FromString(content)
        assert proto.SerializeToString(deterministic=True) == content  # as the library writes it
        assert (proto.model_version, proto.epoch) == (7, 3)
        assert proto.text == prediction.answer.text != ""
        assert list(proto.categories) == list(prediction.vector.categories)
        assert not proto.class_label
        assert not proto.HasField("value")


def test_before_the_first_champion_a_feature_answers(serve):
    answered = serve(PIPELINE, None).inference.answer("help", None, QUESTION)
    assert answered.response["outputs"][0]["data"] == ["Hi"] * 3
    assert [each.answer.text for each in answered.predictions] == ["Hi"] * 3
