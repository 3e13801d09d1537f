"""Answers by entity and explained answers, over HTTP and gRPC, with real models and the real store."""

import json
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest
import xgboost

from millrace_artifacts.artifact import (
    Artifact,
    Learnt,
    Model,
    Native,
    NativeFormat,
    Parity,
    write_artifact,
)
from millrace_artifacts.signature import Encoding, Signature
from millrace_bus.topology import ensure_topics
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.time import Instant, rfc3339
from millrace_proto.v1.features_pb2 import FeaturesComputed
from millrace_serving.entrypoints.grpc_server import SERVICE, GrpcServer
from millrace_testkit.eventually import eventually, running
from open_inference_proto import open_inference_pb2 as protocol

NOON = Instant(1_764_000_000_000_000)
HOUR = 3_600_000_000
INFER = "/v2/models/bikes/infer"

FILE = """
metadata: {name: bikes}
spec:
  event:  {id: id, time: at, entity: station}
  fields: {temp: float, hum: float, weather: category}
  features:
    - {name: warm, expr: temp * (1 - hum)}
    - {name: temp_mean, agg: mean, of: temp, window: 24h}
  label:  {field: cnt, kind: regression}
  model:  {fallback: temp}
  serving: {stale_after: 2h}
"""


def tensor(name, data, datatype="FP64"):
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


def model() -> tuple[xgboost.Booster, bytes]:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(300, 5)).astype(np.float32)
    matrix[:, 4] = generator.integers(0, 2, 300)
    labels = 10 * matrix[:, 0] + 3 * matrix[:, 3] - 5 * matrix[:, 4]
    rows = xgboost.DMatrix(matrix, labels, nthread=1)
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, rows, 10)
    signature = Signature(
        "bikes", 1, ("temp", "hum", "warm", "temp_mean"), ("weather",), (("sun", "rain"),),
        Encoding.ORDINAL, LabelKind.REGRESSION, (),
    )  # fmt: skip
    native = Native(NativeFormat.UBJ, bytes(booster.save_raw("ubj")))
    parts = Model(signature, Parity(1.0, 1e-4, 10), None, native)
    learnt = Learnt(300, 1, 2, 10, 1)
    return booster, write_artifact(Artifact("xgboost", "{}", parts, None, {}, learnt, {}, ()))


@pytest.fixture(scope="module")
def boosted():
    return model()


@pytest.fixture
async def bed(make_bed):
    bed = make_bed()
    bed.pipeline = read_pipeline(FILE, version=1)
    await ensure_topics(bed.broker)
    await bed.apply(bed.pipeline)
    return bed


async def vector(bed, entity, age=HOUR):
    proto = FeaturesComputed(
        pipeline="bikes", pipeline_version=1, event_id=f"e-{entity}", entity=entity,
        event_time_us=NOON - age, numbers=[20.0, 0.5, 10.0, 18.0], categories=["rain"],
    )  # fmt: skip
    await bed.send("millrace.features", 0, "FeaturesComputed", f"bikes/{entity}", proto)


def instance(bed):
    """The in-memory broker stamps records with no real time: here they are never too old."""
    return bed.instance(serving_online_store_days=100_000, serving_explanation_seconds=600)


async def current(parts):
    await eventually(lambda: parts.vectors.is_current)


async def test_an_entity_alone_is_answered_with_its_newest_vector_which_goes_onto_the_stream(bed):
    await vector(bed, "s1")
    async with bed.serving(instance(bed)) as parts, bed.client(parts) as client:
        await current(parts)
        inputs = [tensor("station", ["s1", "s2"], "BYTES")]
        response = await client.post(INFER, json={"id": "r1", "inputs": inputs})
        predictions = await bed.answered(3)  # one is the stream's own

    assert response.status_code == 200
    said = response.json()
    assert said["outputs"][0]["data"] == [20.0, None]
    assert said["parameters"]["freshness"]["temp_mean"] == ["fresh", "absent"]
    assert said["parameters"]["vector_times"] == [rfc3339(Instant(NOON - HOUR)), None]
    assert said["parameters"]["online_store"] == "current"
    mine = {one.event_id: one for one in predictions}
    assert (mine["r1/0"].entity, list(mine["r1/0"].numbers)) == ("s1", [20.0, 0.5, 10.0, 18.0])
    assert (mine["r1/1"].entity, mine["r1/1"].numbers[3]) == ("s2", pytest.approx(float("nan"), nan_ok=True))  # fmt: skip


async def test_an_events_fields_are_completed_with_a_stale_vector(bed):
    await vector(bed, "s1", age=3 * HOUR)
    async with bed.serving(instance(bed)) as parts, bed.client(parts) as client:
        await current(parts)
        inputs = [
            tensor("station", ["s1"], "BYTES"),
            tensor("temp", [30.0]),
            tensor("hum", [0.1]),
        ]
        response = await client.post(INFER, json={"id": "r1", "inputs": inputs})
        predictions = {one.event_id: one for one in await bed.answered(2)}

    freshness = response.json()["parameters"]["freshness"]
    assert {name: one for name, [one] in freshness.items()} == {
        "temp": "given",
        "hum": "given",
        "warm": "given",
        "temp_mean": "stale",
        "weather": "stale",
    }
    assert list(predictions["r1"].numbers) == [30.0, 0.1, 27.0, 18.0]
    assert list(predictions["r1"].categories) == ["rain"]


async def test_a_plain_request_says_nothing_of_freshness_and_a_wrong_one_what_can_be_sent(bed):
    async with bed.serving(instance(bed)) as parts, bed.client(parts) as client:
        whole = [tensor(name, [1.0]) for name in ("temp", "hum", "warm", "temp_mean")]
        whole += [tensor("weather", ["sun"], "BYTES")]
        plain = await client.post(INFER, json={"inputs": whole})
        wrong = await client.post(INFER, json={"inputs": [tensor("station", ["s"], "BYTES"), tensor("tmep", [1.0])]})  # fmt: skip
        fallback = await client.post(INFER, json={"inputs": whole, "parameters": {"explain": True}})

    assert "parameters" not in plain.json()
    assert wrong.status_code == 400
    assert "unknown inputs: tmep" in wrong.json()["error"]
    assert "its entity, station" in wrong.json()["error"]
    assert fallback.status_code == 400
    assert "nothing to explain" in fallback.json()["error"]


async def test_an_answer_is_explained_by_the_version_that_gave_it(bed, boosted):
    booster, content = boosted
    await vector(bed, "s1")
    await bed.promote(1, epoch=1, stored=bed.stored(1, content))
    async with bed.serving(instance(bed)) as parts, bed.client(parts) as client:
        await current(parts)
        await bed.deployed(1)
        asked = {
            "id": "r1",
            "inputs": [tensor("station", ["s1", "s2"], "BYTES")],
            "parameters": {"explain": True},
        }
        response = await client.post(INFER, json=asked)
        strange = await client.post(INFER, json=asked | {"parameters": {"explain": "yes"}})
        many = await client.post(
            INFER,
            json={
                "inputs": [tensor("station", ["s1"] * 101, "BYTES")],
                "parameters": {"explain": True},
            },
        )

    assert response.status_code == 200, response.text
    said = response.json()
    why = said["parameters"]["explanation"]
    assert said["parameters"]["freshness"]["warm"] == ["fresh", "absent"]
    assert why["space"] == "value"
    assert list(why["contributions"]) == ["temp", "hum", "warm", "temp_mean", "weather"]
    sums = why["base"] + np.sum(list(why["contributions"].values()), axis=0)
    np.testing.assert_allclose(sums, said["outputs"][0]["data"], rtol=1e-5)
    missing = [np.nan] * 4
    rows = np.array([[20.0, 0.5, 10.0, 18.0, 1.0], [*missing, -1.0]], dtype=np.float32)
    np.testing.assert_allclose(said["outputs"][0]["data"], booster.inplace_predict(rows), rtol=1e-6)
    assert (strange.status_code, many.status_code) == (400, 400)
    assert "at most 100 rows" in many.json()["error"]


async def test_a_model_that_is_stored_as_onnx_only_is_not_explained_and_one_that_waits_too_long_is_asked_again(
    bed, make_artifact, monkeypatch
):
    await bed.promote(1, epoch=1, stored=bed.stored(1, make_artifact(bed.pipeline, 1)))
    async with bed.serving(instance(bed)) as parts, bed.client(parts) as client:
        await bed.deployed(1)
        whole = [tensor(name, [1.0]) for name in ("temp", "hum", "warm", "temp_mean")]
        asked = {
            "inputs": [*whole, tensor("weather", ["sun"], "BYTES")],
            "parameters": {"explain": True},
        }
        refused = await client.post(INFER, json=asked)
        monkeypatch.setattr(parts.explainer, "_most", 0)
        busy = await client.post(INFER, json=asked)
        plain = await client.post(INFER, json={"inputs": asked["inputs"]})
        predictions = await bed.answered(1)

    assert refused.status_code == 400
    assert "ONNX only" in refused.json()["error"]
    assert busy.status_code == 503
    assert int(busy.headers["retry-after"]) > 0
    assert plain.status_code == 200
    assert predictions[0].event_id == plain.json()["id"]  # what was not answered is not written


def over_grpc(entities, explain, **more):
    """The entities, as a typed gRPC request."""
    station = {
        "name": "station", "datatype": "BYTES", "shape": [len(entities)],
        "contents": {"bytes_contents": [entity.encode() for entity in entities]},
    }  # fmt: skip
    return protocol.ModelInferRequest(
        model_name="bikes", inputs=[station], parameters={"explain": explain}, **more
    )


@asynccontextmanager
async def model_infer(parts):
    """Calls ModelInfer over a real connection."""
    server = GrpcServer(parts, lambda: True, port=0)
    async with running(server):
        await server.ready.wait()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield channel.unary_unary(
                f"/{SERVICE}/ModelInfer",
                request_serializer=protocol.ModelInferRequest.SerializeToString,
                response_deserializer=protocol.ModelInferResponse.FromString,
            )


async def test_an_answer_over_grpc_is_explained_in_the_same_words(bed, boosted):
    await vector(bed, "s1")
    await bed.promote(1, epoch=1, stored=bed.stored(1, boosted[1]))
    wanted = {"bool_param": True}
    async with (
        bed.serving(instance(bed)) as parts, bed.client(parts) as client, model_infer(parts) as infer,
    ):  # fmt: skip
        await current(parts)
        await bed.deployed(1)
        http = await client.post(
            INFER,
            json={
                "inputs": [tensor("station", ["s1", "s2"], "BYTES")],
                "parameters": {"explain": True},
            },
        )
        answer = await infer(over_grpc(["s1", "s2"], wanted, id="g1"))
        plain = await infer(over_grpc(["s1", "s2"], {"bool_param": False}, id="g2"))
        with pytest.raises(grpc.aio.AioRpcError) as strange:
            await infer(over_grpc(["s1"], {"string_param": "yes"}))
        with pytest.raises(grpc.aio.AioRpcError) as many:
            await infer(over_grpc(["s1"] * 101, wanted))
        predictions = await bed.answered(7)  # the stream's own, and what was answered: 2, 2 and 2

    said, over_http = answer.parameters, http.json()
    why = json.loads(said["explanation"].string_param)
    assert why == over_http["parameters"]["explanation"]
    assert json.loads(said["freshness"].string_param) == over_http["parameters"]["freshness"]
    assert [*answer.outputs[0].contents.fp64_contents] == over_http["outputs"][0]["data"]
    sums = why["base"] + np.sum(list(why["contributions"].values()), axis=0)
    np.testing.assert_allclose(sums, over_http["outputs"][0]["data"], rtol=1e-5)
    assert "explanation" not in plain.parameters
    assert plain.outputs == answer.outputs
    assert strange.value.code() is many.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 100 rows" in many.value.details()
    assert {"g1/0", "g1/1", "g2/0", "g2/1"} <= {one.event_id for one in predictions}


async def test_over_grpc_what_is_not_explained_is_refused_and_not_written(
    bed, make_artifact, monkeypatch
):
    await bed.promote(1, epoch=1, stored=bed.stored(1, make_artifact(bed.pipeline, 1)))
    async with bed.serving(instance(bed)) as parts, model_infer(parts) as infer:
        await current(parts)
        await bed.deployed(1)
        wanted = {"bool_param": True}
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await infer(over_grpc(["s1"], wanted))
        monkeypatch.setattr(parts.explainer, "_most", 0)
        with pytest.raises(grpc.aio.AioRpcError) as busy:
            await infer(over_grpc(["s1"], wanted))
        plain = await infer(over_grpc(["s1"], {"bool_param": False}, id="g1"))
        predictions = await bed.answered(1)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ONNX only" in refused.value.details()
    assert busy.value.code() is grpc.StatusCode.UNAVAILABLE
    assert plain.id == "g1"
    assert [one.event_id for one in predictions] == ["g1"]
