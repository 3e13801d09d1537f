"""The Open Inference Protocol over gRPC, with real models behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from millrace_bus.topology import ensure_topics
from millrace_local.ports import free_port
from millrace_proto.v1.predictions_pb2 import PredictionRole
from millrace_serving.entrypoints.bodies import LARGEST_BODY
from millrace_serving.entrypoints.general import ANSWERED_IN_PLACE
from millrace_serving.entrypoints.grpc_hot import HotCalls
from millrace_serving.entrypoints.grpc_server import SERVICE, GrpcServer
from millrace_testkit.eventually import running
from open_inference_proto import open_inference_pb2 as protocol

STEP = 10_000.0


class Client:
    """The protocol's calls by name, as a generated stub would have them."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    async def __call__(self, name: str, /, **fields: object):
        request, response = (getattr(protocol, name + kind) for kind in ("Request", "Response"))
        call = self.channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return await call(request(**fields))


@asynccontextmanager
async def client_of(parts, ready: bool = True) -> AsyncIterator[Client]:
    server = GrpcServer(parts, lambda: ready, port=0)
    async with running(server):
        await server.ready.wait()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield Client(channel)


@pytest.fixture
async def parts(bed):
    await bed.promote(1, epoch=1)
    async with bed.serving() as parts:
        await bed.deployed(1)
        yield parts


@pytest.fixture
async def client(parts):
    async with client_of(parts) as client:
        yield client


def typed(rows: int = 1, **more: object) -> dict:
    inputs = [
        tensor("temp", "FP64", rows, fp64_contents=[float(row) for row in range(rows)]),
        tensor("hum", "INT32", rows, int_contents=[3] * rows),
        tensor("weather", "BYTES", rows, bytes_contents=[b"rain"] * rows),
    ]
    return {"model_name": "bikes", "inputs": inputs, **more}


def raw(temps: list[float], **more: object) -> dict:
    rows = len(temps)
    inputs = [
        tensor("temp", "FP16", rows),
        tensor("hum", "BOOL", rows),
        tensor("weather", "BYTES", rows),
    ]
    contents = [
        np.array(temps, "<f2").tobytes(),
        b"\1" * rows,
        b"\4\0\0\0rain" * rows,
    ]
    return {"model_name": "bikes", "inputs": inputs, "raw_input_contents": contents, **more}


def tensor(name: str, datatype: str, rows: int, **contents: object) -> dict:
    given = {"name": name, "datatype": datatype, "shape": [rows]}
    return given | ({"contents": contents} if contents else {})


async def test_typed_contents_are_answered_typed_and_become_a_prediction(bed, client):
    answer = await client("ModelInfer", **typed(id="r1"))

    assert (answer.model_name, answer.model_version, answer.id) == ("bikes", "1", "r1")
    [output] = answer.outputs
    assert (output.name, output.datatype, output.shape) == ("value", "FP64", [1])
    assert list(output.contents.fp64_contents) == [STEP]
    assert not answer.raw_output_contents
    [prediction] = await bed.answered(1)
    assert (prediction.event_id, prediction.value) == ("r1", STEP)
    assert (list(prediction.numbers), list(prediction.categories)) == ([0.0, 3.0], ["rain"])
    assert prediction.role == PredictionRole.PREDICTION_ROLE_REQUEST


async def test_raw_contents_are_answered_raw_and_the_version_asked_for_answers(bed, client):
    await bed.promote(2, epoch=2)
    await bed.deployed(2)

    answer = await client("ModelInfer", **raw([0.5, 2.5], model_version="1"))

    assert answer.model_version == "1"
    assert not answer.outputs[0].HasField("contents")
    values = np.frombuffer(answer.raw_output_contents[0], "<f8")
    assert values.tolist() == [STEP + 0.5, STEP + 2.5]
    assert answer.id
    predictions = await bed.answered(2)
    assert {one.event_id for one in predictions} == {f"{answer.id}/0", f"{answer.id}/1"}
    assert list(predictions[0].numbers)[1] == 1.0


async def test_many_rows_are_answered_at_once(bed, client):
    temps = [float(row % 100) for row in range(8_000)]
    request = raw(temps)
    assert sum(map(len, request["raw_input_contents"])) > ANSWERED_IN_PLACE

    answer = await client("ModelInfer", **request)

    values = np.frombuffer(answer.raw_output_contents[0], "<f8")
    assert values.tolist() == [STEP + temp for temp in temps]


async def test_the_server_and_its_models_describe_themselves(client):
    assert (await client("ServerLive")).live
    assert (await client("ServerReady")).ready
    server = await client("ServerMetadata")
    assert (server.name, "statistics" in server.extensions) == ("millrace", True)
    metadata = await client("ModelMetadata", name="bikes")
    assert (list(metadata.versions), metadata.platform) == (["1"], "onnxruntime_onnx")
    assert [(one.name, one.datatype, list(one.shape)) for one in metadata.inputs] == [
        ("temp", "FP64", [-1]),
        ("hum", "FP64", [-1]),
        ("weather", "BYTES", [-1]),
    ]
    assert (await client("ModelReady", name="bikes", version="1")).ready
    [model] = (await client("RepositoryIndex")).models
    assert (model.name, model.version, model.state) == ("bikes", "1", "READY")


async def test_statistics_count_what_was_answered_and_what_was_refused(client):
    await client("ModelInfer", **raw([1.0, 2.0, 3.0]))
    await client("ModelInfer", **typed())
    with pytest.raises(grpc.aio.AioRpcError):
        await client("ModelInfer", model_name="bikes")

    [found] = (await client("ModelStatistics", name="bikes")).model_stats

    assert (found.name, found.version) == ("bikes", "1")
    assert (found.inference_count, found.execution_count) == (4, 2)
    figures = found.inference_stats
    assert (figures.success.count, figures.fail.count) == (2, 1)
    assert figures.success.ns >= figures.compute_infer.ns > 0
    assert [batch.batch_size for batch in found.batch_stats] == [1, 3]


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"model_name": "taxis"}, "NOT_FOUND", "no pipeline 'taxis'"),
        (typed(model_version="9"), "NOT_FOUND", "version '9'"),
        ({"model_name": "bikes"}, "INVALID_ARGUMENT", "at least one tensor"),
        (raw([1.0]) | {"raw_input_contents": [b""]}, "INVALID_ARGUMENT", "3 inputs and 1 raw"),
        (typed() | {"raw_input_contents": [b""] * 3}, "INVALID_ARGUMENT", "both contents and"),
        (
            typed() | {"inputs": [tensor("temp", "FP16", 1, fp32_contents=[1.0])]},
            "INVALID_ARGUMENT",
            "no typed contents",
        ),
        (
            typed() | {"inputs": [tensor("temp", "FP32", 1, fp64_contents=[1.0])]},
            "INVALID_ARGUMENT",
            "has 0 values, its shape has 1",
        ),
        (
            typed() | {"inputs": [tensor("weather", "BYTES", 1, bytes_contents=[b"\xff"])]},
            "INVALID_ARGUMENT",
            "no UTF-8",
        ),
        (typed(outputs=[{"name": "nothing"}]), "INVALID_ARGUMENT", "no output 'nothing'"),
        (
            {"model_name": "bikes", "raw_input_contents": [b"\0" * LARGEST_BODY]},
            "RESOURCE_EXHAUSTED",
            "larger than max",
        ),
    ],
)
async def test_a_refusal_has_a_status_and_says_what_is_wrong(bed, client, request_, status, words):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client("ModelInfer", **request_)

    assert refused.value.code() is grpc.StatusCode[status]
    assert words in refused.value.details()
    assert bed.predictions() == []


async def test_bytes_that_are_no_message_are_refused(client):
    call = client.channel.unary_unary(f"/{SERVICE}/ModelInfer")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"\xff\xff\xff")

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_while_history_is_read_nothing_is_ready_and_nothing_is_answered(parts):
    async with client_of(parts, ready=False) as client:
        assert not (await client("ServerReady")).ready
        assert not (await client("ModelReady", name="bikes")).ready
        check = health_pb2_grpc.HealthStub(client.channel).Check
        state = await check(health_pb2.HealthCheckRequest())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client("ModelInfer", **typed())

    assert state.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_health_says_what_is_so_and_tells_who_watches(client):
    stub = health_pb2_grpc.HealthStub(client.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))

    states = health_pb2.HealthCheckResponse
    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == states.SERVING
    assert (await watch.read()).status == states.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    watch.cancel()


async def test_who_watches_hears_when_history_has_been_read_and_when_the_service_stops(parts):
    class History:
        def __init__(self) -> None:
            self.ready = asyncio.Event()

    history = History()
    server = GrpcServer(parts, history.ready.is_set, [history], port=0)
    states = health_pb2.HealthCheckResponse
    async with running(server):
        await server.ready.wait()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == states.NOT_SERVING
        history.ready.set()
        assert (await watch.read()).status == states.SERVING
    assert (await watch.read()).status == states.NOT_SERVING
    await channel.close()


async def test_reflection_names_the_services_and_has_their_definition(client):
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    ask = reflection_pb2.ServerReflectionRequest
    questions = [ask(list_services=""), ask(file_containing_symbol=SERVICE)]

    answers = [answer async for answer in stub.ServerReflectionInfo(iter(questions))]

    names = {service.name for service in answers[0].list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    assert b"ModelInferRequest" in answers[1].file_descriptor_response.file_descriptor_proto[0]


async def test_a_port_that_is_taken_stops_the_service_loudly(parts):
    port = free_port()
    first, second = (GrpcServer(parts, lambda: True, port=port) for _ in range(2))
    async with running(first):
        await first.ready.wait()
        with pytest.raises(OSError, match=f"{port} for gRPC; is it in use"):
            await second.run()


@pytest.mark.parametrize(
    ("kind", "classes", "typed_outputs", "raw_outputs"),
    [
        (
            "binary",
            (),
            {"probability": [pytest.approx(0.25)], "label": [False]},
            [pytest.approx([0.25]), [0]],
        ),
        (
            "multiclass",
            ("bus", "tram"),
            {"class": [b"tram"], "probabilities": [0.0, 1.0]},
            [list(b"\4\0\0\0tram"), [0.0, 1.0]],
        ),
    ],
)
async def test_every_kind_of_model_answers_typed_and_raw(
    make_bed, make_artifact, kind, classes, typed_outputs, raw_outputs
):
    bed = make_bed(kind=kind)
    await ensure_topics(bed.broker)
    await bed.apply(bed.pipeline)
    stored = bed.stored(25, make_artifact(bed.pipeline, 25, classes))
    await bed.promote(25, epoch=1, stored=stored)
    async with bed.serving() as parts, client_of(parts) as client:
        await bed.deployed(1)
        answer = await client("ModelInfer", **typed())
        as_bytes = await client("ModelInfer", **raw([0.0]))

    fields = {"FP64": "fp64_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}
    found = {
        each.name: list(getattr(each.contents, fields[each.datatype])) for each in answer.outputs
    }
    assert found == typed_outputs
    types = {"FP64": "<f8", "BOOL": "u1", "BYTES": "u1"}
    for output, content, expected in zip(
        as_bytes.outputs, as_bytes.raw_output_contents, raw_outputs, strict=True
    ):
        assert np.frombuffer(content, types[output.datatype]).tolist() == expected


@pytest.mark.parametrize(
    ("kind", "classes", "names"),
    [
        ("regression", (), ["value"]),
        ("binary", (), ["probability", "label"]),
        ("multiclass", ("bus", "tram" * 50), ["class", "probabilities"]),
    ],
)
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
async def test_a_single_raw_row_of_numbers_is_answered_by_the_plan_as_the_general_way_would(
    make_bed, make_artifact, kind, classes, names, datatype
):
    bed = make_bed(kind=kind, fields="temp: float, hum: float")
    await ensure_topics(bed.broker)
    await bed.apply(bed.pipeline)
    stored = bed.stored(25, make_artifact(bed.pipeline, 25, classes))
    await bed.promote(25, epoch=1, stored=stored)
    row = np.array([0.5, np.nan], {"FP32": "<f4", "FP64": "<f8"}[datatype]).tobytes()
    matrix = {"name": "features", "datatype": datatype, "shape": [1, 2]}
    plain = protocol.ModelInferRequest(
        model_name="bikes", id="r" * 190, inputs=[matrix], raw_input_contents=[row]
    )
    special = protocol.ModelInferRequest()
    special.CopyFrom(plain)
    for name in names:
        special.outputs.add(name=name)
    async with bed.serving() as parts, client_of(parts) as client:
        await bed.deployed(1)
        hot = HotCalls(parts.plans)
        at_once = hot.answer(plain)
        not_for_a_plan = hot.answer(special)
        general = await client("ModelInfer", **fields_of(special))
        predictions = await bed.answered(2)

    assert at_once is not None
    assert not_for_a_plan is None
    assert protocol.ModelInferResponse.FromString(at_once) == general
    assert [output.name for output in general.outputs] == names
    assert predictions[0].SerializeToString() == predictions[1].SerializeToString()


def fields_of(message) -> dict[str, object]:
    return {field.name: value for field, value in message.ListFields()}


@pytest.mark.parametrize(
    "changes",
    [
        {"model_version": "1"},
        {"parameters": {"explain": {"bool_param": True}}},
        {"inputs": [{"name": "features", "datatype": "FP64", "shape": [2, 1]}]},
        {"inputs": [{"name": "features", "datatype": "INT64", "shape": [1, 2]}]},
        {"inputs": [{"name": "numbers", "datatype": "FP64", "shape": [1, 2]}]},
        {"raw_input_contents": [bytes(17)]},
        {"raw_input_contents": [bytes(16), bytes(16)]},
        {"raw_input_contents": []},
        {"id": "r" * 201},
        {"model_name": "taxis"},
    ],
)
async def test_what_a_plan_is_not_sure_of_is_left_to_the_general_way(make_bed, changes):
    bed = make_bed(fields="temp: float, hum: float")
    await ensure_topics(bed.broker)
    await bed.apply(bed.pipeline)
    await bed.promote(1, epoch=1)
    matrix = {"name": "features", "datatype": "FP64", "shape": [1, 2]}
    usual = {"model_name": "bikes", "inputs": [matrix], "raw_input_contents": [bytes(16)]}
    async with bed.serving() as parts:
        await bed.deployed(1)
        hot = HotCalls(parts.plans)

        assert hot.answer(protocol.ModelInferRequest(**usual)) is not None
        assert hot.answer(protocol.ModelInferRequest(**usual | changes)) is None
        assert len(await bed.answered(1)) == 1
