"""What training fits with quantiles and an interval, serving answers with both, over HTTP and gRPC."""

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.pipeline import LabelKind
from millrace_serving.adapters.engine import ArtifactModel
from millrace_serving.entrypoints.bodies import answer_of as http_body
from millrace_serving.entrypoints.grpc_messages import answer_of as grpc_message
from millrace_training.adapters.fitting.job import FitJob
from millrace_training.adapters.fitting.options import Options

ROWS = 800
FILE = """
apiVersion: millrace/v1
kind: Pipeline
metadata: {name: mill}
spec:
  event: {id: id, time: at}
  fields: {x: float, y: float}
  label: {field: flour, kind: regression}
"""


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory) -> ArtifactModel:
    random = np.random.default_rng(7)
    numbers = random.normal(size=(ROWS, 2))
    path = tmp_path_factory.mktemp("answers") / "dataset.parquet"
    table = {
        "event_id": [f"e{number:05d}" for number in range(ROWS)],
        "event_time_us": np.arange(ROWS) * 1_000_000,
        "numbers": numbers.tolist(),
        "categories": pa.array([[]] * ROWS, pa.list_(pa.string())),
        "label": 3.0 * numbers[:, 0] + random.normal(size=ROWS) * (0.5 + np.abs(numbers[:, 1])),
    }
    pq.write_table(pa.table(table), path)
    options = Options(interval=0.8, quantiles=(0.1, 0.5, 0.9))
    kind, candidates = LabelKind.REGRESSION, ("xgboost",)
    job = FitJob("mill", 1, kind, ("x", "y"), (), candidates, path, 5_000, 200, options=options)
    return trained(job)


@pytest.fixture
def serving(serve, model):
    return serve(read_pipeline(FILE, version=1), model)


QUESTION = {
    "inputs": [{"name": "features", "shape": [2, 2], "datatype": "FP64", "data": [0, 0, 0, 3.0]}]
}


def test_an_answer_says_how_sure_it_is(serving):
    answered = serving.inference.answer("mill", None, QUESTION)
    value, quantiles, interval = answered.response["outputs"]

    assert [each["shape"] for each in (value, quantiles, interval)] == [[2], [2, 3], [2, 2]]
    assert quantiles["parameters"] == {"levels": "0.1, 0.5, 0.9"}
    assert interval["parameters"] == {"share": 0.8}
    levels, ends = np.reshape(quantiles["data"], (2, 3)), np.reshape(interval["data"], (2, 2))
    assert levels[:, 1].tolist() == value["data"]
    assert (np.diff(levels) >= 0).all()
    assert (ends[:, 0] < value["data"]).all()
    assert (ends[:, 1] > value["data"]).all()
    assert np.ptp(ends[1]) > np.ptp(ends[0])  # where the noise is larger
    for row, prediction in enumerate(answered.predictions):  # and the stream is told the same
        assert prediction.answer.quantiles == tuple(levels[row])
        assert prediction.answer.interval == tuple(ends[row])


def test_both_protocols_carry_it(serving):
    response = serving.inference.answer("mill", None, QUESTION).response

    body, _ = http_body(response, QUESTION)
    assert orjson.loads(body)["outputs"] == response["outputs"]
    message = grpc_message(response, raw=False)
    assert list(message.outputs[2].contents.fp64_contents) == response["outputs"][2]["data"]
    assert message.outputs[1].parameters["levels"].string_param == "0.1, 0.5, 0.9"
    described = serving.inference.metadata("mill", None)["outputs"]
    assert [each["shape"] for each in described] == [[-1], [-1, 3], [-1, 2]]


def test_bytes_keep_what_their_columns_mean(serving):
    response = serving.inference.answer("mill", None, QUESTION).response
    asked = QUESTION | {"parameters": {"binary_data_output": True}}
    body, headers = http_body(response, asked)
    head = orjson.loads(body[: int(dict(headers)[b"inference-header-content-length"])])

    assert head["outputs"][2]["parameters"] == {"share": 0.8, "binary_data_size": 32}


def test_no_plan_takes_it_on(serving):
    """A plan would leave out what it has no hole for."""
    assert serving.plans.plan("mill") is None
