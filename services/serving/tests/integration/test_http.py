"""The Open Inference Protocol over HTTP, with real models behind it."""

import asyncio
import json

import pytest

from millrace_bus.topology import ensure_topics
from millrace_kernel.ids import derived_id
from millrace_proto.v1.predictions_pb2 import PredictionRole
from millrace_serving.entrypoints.general import ANSWERED_IN_PLACE, LARGEST_BODY
from millrace_serving.entrypoints.http import app
from millrace_testkit.eventually import eventually

STEP = 10_000.0
INFER = "/v2/models/bikes/infer"


def body(temps: list[float], request_id: str | None = None, **more: object) -> dict:
    rows = len(temps)
    inputs = [
        {"name": "temp", "datatype": "FP64", "shape": [rows], "data": temps},
        {"name": "hum", "datatype": "FP32", "shape": [rows, 1], "data": [[None]] * rows},
        {"name": "weather", "datatype": "BYTES", "shape": [rows], "data": ["rain"] * rows},
    ]
    return {"inputs": inputs, **({"id": request_id} if request_id else {}), **more}


@pytest.fixture
async def parts(bed):
    await bed.promote(1, epoch=1)
    async with bed.serving() as parts:
        yield parts


@pytest.fixture
async def client(bed, parts):
    async with bed.client(parts) as client:
        yield client


async def test_an_answer_names_its_version_and_becomes_a_prediction_on_the_stream(bed, client):
    response = await client.post(INFER, json=body([7.0], "r1"))

    assert response.status_code == 200
    assert response.json() == {
        "model_name": "bikes",
        "model_version": "1",
        "id": "r1",
        "outputs": [{"name": "value", "datatype": "FP64", "shape": [1], "data": [10007.0]}],
    }
    [prediction] = await bed.answered(1)
    assert prediction.role == PredictionRole.PREDICTION_ROLE_REQUEST
    assert (prediction.event_id, prediction.value) == ("r1", 10007.0)
    assert (prediction.model_version, prediction.epoch) == (1, 1)
    assert prediction.numbers[0] == 7.0
    [message] = bed.effective("millrace.predictions")
    assert message.key == b"bikes/r1"
    assert message.id == derived_id("request-prediction", "bikes", "r1")


async def test_many_rows_are_answered_at_once_in_a_thread_when_they_are_many(bed, client):
    count = 10_000
    content = json.dumps(body([float(number) for number in range(count)], "r"))
    assert len(content) > ANSWERED_IN_PLACE

    response = await client.post(INFER, content=content)

    assert response.json()["outputs"][0]["data"] == [STEP + number for number in range(count)]
    predictions = await bed.answered(count)
    assert {one.event_id for one in predictions} == {f"r/{number}" for number in range(count)}


async def test_the_server_says_what_it_is_and_that_it_is_well(client):
    assert (await client.get("/v2")).json()["name"] == "millrace"
    assert (await client.get("/v2/health/live")).json() == {"ready": True, "live": True}
    assert (await client.get("/v2/health/ready")).json() == {"ready": True, "live": True}
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/metrics")).status_code == 200
    assert "/v2/models/{name}/infer" in (await client.get("/openapi.json")).json()["paths"]


async def test_while_history_is_read_nothing_is_ready_and_nothing_is_answered(bed, parts):
    async with bed.client(parts, ready=False) as client:
        health = await client.get("/v2/health/ready")
        answer = await client.post(INFER, json=body([7.0]))

    assert (health.status_code, health.json()) == (503, {"ready": False, "live": True})
    assert answer.status_code == 503
    assert "history" in answer.json()["error"]


async def test_metadata_and_readiness_of_a_model_and_of_its_loaded_versions(bed, client):
    await bed.promote(2, epoch=2)
    await bed.deployed(2)

    metadata = (await client.get("/v2/models/bikes")).json()
    assert metadata == {
        "name": "bikes",
        "versions": ["2", "1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "temp", "datatype": "FP64", "shape": [-1]},
            {"name": "hum", "datatype": "FP64", "shape": [-1]},
            {"name": "weather", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": "value", "datatype": "FP64", "shape": [-1]}],
    }
    assert (await client.get("/v2/models/bikes/versions/1")).json() == metadata
    assert (await client.get("/v2/models/bikes/ready")).json() == {"name": "bikes", "ready": True}
    assert (await client.get("/v2/models/bikes/versions/2/ready")).status_code == 200
    old = (await client.post("/v2/models/bikes/versions/1/infer", json=body([7.0]))).json()
    assert (old["model_version"], old["outputs"][0]["data"]) == ("1", [10007.0])


@pytest.mark.parametrize("path", ["", "/ready"])
async def test_what_is_not_loaded_is_not_found(client, path):
    for model in ("/v2/models/taxis", "/v2/models/bikes/versions/9", "/v2/models/bikes/versions/x"):
        response = await client.get(model + path)

        assert response.status_code == 404
        assert list(response.json()) == ["error"]


async def test_an_ended_pipeline_is_not_found_any_more(bed, client):
    await bed.end("bikes")

    async def is_gone() -> bool:
        return (await client.post(INFER, json=body([7.0]))).status_code == 404

    await eventually(is_gone)


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (b"{", {}, 400, "not JSON"),
        (
            b'{"inputs": [{"name": "temp", "datatype": "FP64", "shape": [1], "data": [1]}]}',
            {},
            400,
            "missing inputs: hum, weather",
        ),
        (b"{}", {"content-encoding": "br"}, 415, "send gzip, deflate or the body as it is"),
        (b" " * (LARGEST_BODY + 1), {}, 413, "larger than"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(client, content, headers, status, words):
    response = await client.post(INFER, content=content, headers=headers)

    assert response.status_code == status
    assert words in response.json()["error"]


async def test_a_body_without_a_length_is_read_no_further_than_it_may_be_long(client):
    async def endless():
        while True:
            yield b" " * 1_000_000

    assert (await client.post(INFER, content=endless())).status_code == 413


@pytest.mark.parametrize(
    "path", ["/v2/repository/models/bikes/load", "/v2/models/bikes/stats", "/v2/nothing"]
)
async def test_what_is_not_offered_is_refused_in_the_protocols_words(client, path):
    response = await client.post(path)

    assert response.status_code in (404, 405)
    assert "error" in response.json()


async def test_before_the_first_champion_the_fallback_answers_as_version_0(bed):
    async with bed.serving() as parts, bed.client(parts) as client:
        response = (await client.post(INFER, json=body([7.0], "r1"))).json()
        [prediction] = await bed.answered(1)

    assert (response["model_version"], response["outputs"][0]["data"]) == ("0", [7.0])
    assert (prediction.model_version, prediction.role) == (
        0,
        PredictionRole.PREDICTION_ROLE_REQUEST,
    )


async def test_a_binary_model_answers_with_probability_and_label(make_bed, make_artifact):
    bed = make_bed(kind="binary")
    await ensure_topics(bed.broker)
    await bed.apply(bed.pipeline)
    await bed.promote(25, epoch=1)
    async with bed.serving() as parts, bed.client(parts) as client:
        answer = (await client.post(INFER, json=body([0.0, 0.5]))).json()
        await bed.vectors([0])
        await bed.answered(3)

    probability, label = answer["outputs"]
    assert probability["data"] == pytest.approx([0.25, 0.75])
    assert (label["datatype"], label["data"]) == ("BOOL", [False, True])


async def test_a_multiclass_model_answers_with_class_and_probabilities(make_bed, make_artifact):
    bed = make_bed(kind="multiclass")
    await ensure_topics(bed.broker)
    await bed.apply(bed.pipeline)
    await bed.promote(
        1, epoch=1, stored=bed.stored(1, make_artifact(bed.pipeline, 1, ("bus", "tram")))
    )
    async with bed.serving() as parts, bed.client(parts) as client:
        answer = (await client.post(INFER, json=body([0.0], outputs=[{"name": "class"}]))).json()
        metadata = (await client.get("/v2/models/bikes")).json()
        await bed.vectors([0])
        predictions = await bed.answered(2)

    assert answer["outputs"] == [
        {"name": "class", "datatype": "BYTES", "shape": [1], "data": ["tram"]}
    ]
    assert metadata["outputs"][1] == {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]}
    for prediction in predictions:
        assert prediction.class_label == "tram"
        assert list(prediction.probabilities) == [0.0, 1.0]
        assert not prediction.HasField("value")


async def test_concurrent_requests_during_promotions_never_fail_and_are_answered_by_the_version_they_name(
    bed, parts
):
    """200 requests at once while each of 20 versions takes over from the one before."""
    serving = app(parts, lambda: True)
    answers: dict[str, tuple[float, str]] = {}
    mixed = 0
    for version in range(2, 22):
        ids = [f"r{number}-{version}" for number in range(200)]
        await bed.promote(version, epoch=version)
        wave = await asyncio.gather(
            *(
                ask(serving, body([float(number)], ids[number]), number / 2_000)
                for number in range(200)
            )
        )
        await bed.deployed(version)
        assert (await ask(serving, body([1.0], f"late-{version}"), 0.0))["model_version"] == str(
            version
        )
        found = {
            each["id"]: (each["outputs"][0]["data"][0], each["model_version"]) for each in wave
        }
        assert list(found) == ids
        assert [value for value, _ in found.values()] == [
            int(by) * STEP + n for n, (_, by) in enumerate(found.values())
        ]
        mixed += len({by for _, by in found.values()}) == 2
        answers |= found

    assert mixed, "a promotion was carried out in the middle of requests"
    predictions = await bed.answered(len(answers) + 20)
    written = {one.event_id: (one.value, str(one.model_version)) for one in predictions}
    assert answers.items() <= written.items()
    assert len(bed.deployments()) == 21


async def ask(serving, question: dict, delay: float) -> dict:
    """One request straight to the app (a client would take longer than what is tested), whose body arrives late."""
    content = json.dumps(question).encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": INFER,
        "query_string": b"",
        "headers": [(b"content-length", str(len(content)).encode())],
    }
    sent = []

    async def receive() -> dict:
        await asyncio.sleep(delay)
        return {"type": "http.request", "body": content}

    async def send(message: dict) -> None:
        sent.append(message)

    await serving(scope, receive, send)
    assert sent[0]["status"] == 200, sent
    return json.loads(sent[1]["body"])
