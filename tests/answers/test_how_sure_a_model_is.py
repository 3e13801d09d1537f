"""What training fits with quantiles and an interval, serving answers with both, over HTTP and gRPC."""

import itertools

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.scorer import load_scorer
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.ids import ModelVersionNumber, PipelineName, RunId
from millrace_kernel.pipeline import LabelKind
from millrace_serving.adapters.engine import ArtifactModel
from millrace_serving.adapters.publisher import BusPublisher
from millrace_serving.adapters.wire import WIRE
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.hot import Plans
from millrace_serving.application.inference import Inference
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.statistics import Statistics
from millrace_serving.domain.champions import Champion
from millrace_serving.domain.events import PipelineApplied
from millrace_serving.entrypoints.bodies import answer_of as http_body
from millrace_serving.entrypoints.grpc_messages import answer_of as grpc_message
from millrace_testkit.clock import FixedClock
from millrace_testkit.memory import MemoryBroker
from millrace_training.adapters.fitting.fit import fit_candidates
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
def model(tmp_path_factory) -> ArtifactModel:
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
    scorer = load_scorer(read_artifact(fit_candidates(job).artifact))
    return ArtifactModel(scorer, "onnxruntime_onnx", 1_000)


@pytest.fixture
def serving(model):
    pipelines, deployments, clock = Pipelines(), Deployments(), FixedClock(1_764_000_000_000_000)
    pipeline = read_pipeline(FILE, version=1)
    pipelines.apply(PipelineApplied(pipeline.name, (pipeline,)))
    champion = Champion(
        pipeline=PipelineName("mill"),
        pipeline_version=1,
        version=ModelVersionNumber(1),
        epoch=1,
        run_id=RunId("run-1"),
        artifact_uri="file:///mill",
        artifact_sha256="0" * 64,
        artifact_signature=b"",
        signing_key_id="",
    )
    deployments.swap(Deployment(champion, model))
    publisher = BusPublisher(MemoryBroker(), WIRE, instance="a", started=1, chance=lambda: 0.5)
    statistics = Statistics(clock, itertools.count().__next__)
    inference = Inference(pipelines, deployments, publisher, clock, "a", statistics)
    plans = Plans(pipelines, deployments, publisher, inference.new_id, clock, statistics)
    return inference, plans


QUESTION = {
    "inputs": [{"name": "features", "shape": [2, 2], "datatype": "FP64", "data": [0, 0, 0, 3.0]}]
}


def test_an_answer_says_how_sure_it_is(serving):
    inference, _ = serving
    answered = inference.answer("mill", None, QUESTION)
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
    inference, _ = serving
    response = inference.answer("mill", None, QUESTION).response

    body, _ = http_body(response, QUESTION)
    assert orjson.loads(body)["outputs"] == response["outputs"]
    message = grpc_message(response, raw=False)
    assert list(message.outputs[2].contents.fp64_contents) == response["outputs"][2]["data"]
    assert message.outputs[1].parameters["levels"].string_param == "0.1, 0.5, 0.9"
    described = inference.metadata("mill", None)["outputs"]
    assert [each["shape"] for each in described] == [[-1], [-1, 3], [-1, 2]]


def test_bytes_keep_what_their_columns_mean(serving):
    inference, _ = serving
    response = inference.answer("mill", None, QUESTION).response
    asked = QUESTION | {"parameters": {"binary_data_output": True}}
    body, headers = http_body(response, asked)
    head = orjson.loads(body[: int(dict(headers)[b"inference-header-content-length"])])

    assert head["outputs"][2]["parameters"] == {"share": 0.8, "binary_data_size": 32}


def test_no_plan_takes_it_on(serving):
    """A plan would leave out what it has no hole for."""
    _, plans = serving
    assert plans.plan("mill") is None
