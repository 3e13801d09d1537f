"""Bodies over HTTP in every form: JSON, binary tensors behind it, compressed; and what is told about the models."""

import gzip
import json
import zlib

import numpy as np
import pytest

from millrace_serving.entrypoints.bodies import LARGEST_BODY, WORTH_COMPRESSING
from millrace_testkit.eventually import eventually

STEP = 10_000.0
INFER = "/v2/models/bikes/infer"
JSON_LENGTH = "inference-header-content-length"


@pytest.fixture
async def client(bed):
    await bed.promote(1, epoch=1)
    async with bed.serving() as parts, bed.client(parts) as client:
        await bed.deployed(1)
        yield client


def mixed(temps: list[float], **more: object) -> tuple[bytes, dict[str, str]]:
    """A request with two binary tensors around one in JSON, and its headers."""
    rows = len(temps)
    contents = [np.array(temps, "<f4").tobytes(), b"".join(b"\3\0\0\0sun" for _ in temps)]
    inputs = [
        {"name": "temp", "datatype": "FP32", "shape": [rows], "parameters": {"binary_data_size": len(contents[0])}},
        {"name": "hum", "datatype": "FP64", "shape": [rows], "data": [0.5] * rows},
        {"name": "weather", "datatype": "BYTES", "shape": [rows, 1], "parameters": {"binary_data_size": len(contents[1])}},
    ]  # fmt: skip
    head = json.dumps({"inputs": inputs} | more).encode()
    return head + b"".join(contents), {JSON_LENGTH: str(len(head))}


def plain(temps: list[float], **more: object) -> bytes:
    rows = len(temps)
    inputs = [
        {"name": "temp", "datatype": "FP64", "shape": [rows], "data": temps},
        {"name": "hum", "datatype": "FP64", "shape": [rows], "data": [0.5] * rows},
        {"name": "weather", "datatype": "BYTES", "shape": [rows], "data": ["sun"] * rows},
    ]
    return json.dumps({"inputs": inputs} | more).encode()


async def test_binary_and_json_tensors_may_stand_in_one_request(bed, client):
    content, headers = mixed([1.5, 2.5], id="r")

    answer = await client.post(INFER, content=content, headers=headers)

    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == [STEP + 1.5, STEP + 2.5]
    predictions = await bed.answered(2)
    assert [list(one.categories) for one in predictions] == [["sun"], ["sun"]]
    assert sorted(one.numbers[0] for one in predictions) == [1.5, 2.5]


@pytest.mark.parametrize(
    "asks",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "value", "parameters": {"binary_data": True}}]},
    ],
)
async def test_outputs_come_as_bytes_where_they_are_asked_for_so(client, asks):
    content, headers = mixed([1.5, 2.5], **asks)

    answer = await client.post(INFER, content=content, headers=headers)

    length = int(answer.headers[JSON_LENGTH])
    assert answer.headers["content-type"] == "application/octet-stream"
    [output] = json.loads(answer.content[:length])["outputs"]
    assert output == {
        "name": "value",
        "datatype": "FP64",
        "shape": [2],
        "parameters": {"binary_data_size": 16},
    }
    assert np.frombuffer(answer.content[length:], "<f8").tolist() == [STEP + 1.5, STEP + 2.5]


async def test_an_output_may_stay_json_while_the_others_come_as_bytes(client):
    outputs = [{"name": "value", "parameters": {"binary_data": False}}]
    content, headers = mixed([1.5], outputs=outputs, parameters={"binary_data_output": True})

    answer = await client.post(INFER, content=content, headers=headers)

    assert answer.json()["outputs"][0]["data"] == [STEP + 1.5]


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("gzip", lambda content: gzip.compress(content[:9]) + gzip.compress(content[9:])),
        ("deflate", zlib.compress),
        ("deflate", lambda content: zlib.compress(content, wbits=-15)),
        ("GZIP", gzip.compress),
        ("identity", bytes),
    ],
)
async def test_compressed_requests_are_understood(client, encoding, compress):
    content, headers = mixed([1.5])

    answer = await client.post(
        INFER, content=compress(content), headers=headers | {"content-encoding": encoding}
    )

    assert answer.json()["outputs"][0]["data"] == [STEP + 1.5]


@pytest.mark.parametrize(
    ("content", "encoding", "status", "words"),
    [
        (gzip.compress(b" " * (LARGEST_BODY + 1)), "gzip", 413, "larger than"),
        (gzip.compress(b" " * LARGEST_BODY) + gzip.compress(b" "), "gzip", 413, "larger than"),
        (zlib.compress(b" " * 100_000_000), "deflate", 413, "larger than"),
        (b"{}", "gzip", 400, "the body is not gzip"),
        (b"{}", "deflate", 400, "deflate"),
        (gzip.compress(plain([1.0]))[:-9], "gzip", 400, "ends in the middle"),
        (b"", "gzip", 400, "not JSON"),
    ],
)
async def test_what_unpacks_to_too_much_or_to_nothing_is_refused(
    client, content, encoding, status, words
):
    answer = await client.post(INFER, content=content, headers={"content-encoding": encoding})

    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize(
    ("accepts", "expected"),
    [
        ("gzip", "gzip"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("br, *;q=0.1", "gzip"),
        ("gzip;q=0, deflate;q=0", None),
        ("gzip;q=x", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_answers_are_compressed_as_the_request_accepts_it(client, accepts, expected):
    temps = [float(number) for number in range(300)]

    answer = await client.post(INFER, content=plain(temps), headers={"accept-encoding": accepts})

    assert answer.headers.get("content-encoding") == expected
    assert answer.json()["outputs"][0]["data"] == [STEP + temp for temp in temps]
    if expected:
        assert int(answer.headers["content-length"]) < len(answer.content)


async def test_of_a_small_answer_nothing_is_saved_by_compressing_it(client):
    answer = await client.post(INFER, content=plain([1.0]), headers={"accept-encoding": "gzip"})

    assert len(answer.content) < WORTH_COMPRESSING
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("length", "words"),
    [
        ("x", "must be the number of bytes"),
        ("-1", "must be the number of bytes"),
        ("9" * 30, "must be the number of bytes"),
        ("1000000", "but the body has"),
        ("0", "not JSON"),
        ("5", "not JSON"),
    ],
)
async def test_a_json_length_that_the_body_has_not_is_refused(client, length, words):
    answer = await client.post(INFER, content=mixed([1.0])[0], headers={JSON_LENGTH: length})

    assert answer.status_code == 400
    assert words in answer.json()["error"]


async def test_the_repository_index_names_what_can_be_asked_and_what_cannot(
    bed, make_pipeline, client
):
    await bed.promote(2, epoch=2)
    await bed.deployed(2)
    await bed.apply(make_pipeline(name="taxis"))

    async def index(content: bytes) -> list[tuple[str, str, str]]:
        answer = await client.post("/v2/repository/index", content=content)
        return [(one["name"], one["version"], one["state"]) for one in answer.json()]

    async def has_both() -> bool:
        return len(await index(b"")) == 3

    await eventually(has_both)
    ready = await index(b'{"ready": true}')

    assert ready == [("bikes", "2", "READY"), ("bikes", "1", "READY")]
    assert await index(b"") == [*ready, ("taxis", "0", "UNAVAILABLE")]
    assert (await client.post("/v2/repository/index", content=b"[]")).status_code == 400


async def test_statistics_count_by_version_what_was_asked(bed, client):
    await client.post(INFER, content=plain([1.0, 2.0]))
    await client.post(INFER, content=plain([1.0]))
    await client.post(INFER, content=b"{}")
    await bed.promote(2, epoch=2)
    await bed.deployed(2)
    await client.post(INFER, content=plain([1.0]))

    answer = (await client.get("/v2/models/bikes/stats")).json()
    first = (await client.get("/v2/models/bikes/versions/1/stats")).json()["model_stats"]
    everything = (await client.get("/v2/models/stats")).json()
    unknown = await client.get("/v2/models/bikes/versions/9/stats")

    assert answer == everything
    new, old = answer["model_stats"]
    assert [old] == first
    assert (new["version"], new["inference_count"], new["execution_count"]) == ("2", 1, 1)
    assert (old["version"], old["inference_count"], old["execution_count"]) == ("1", 3, 2)
    figures = old["inference_stats"]
    assert {name: figure["count"] for name, figure in figures.items()} == {
        "success": 2, "fail": 1, "queue": 2, "compute_input": 2, "compute_infer": 2, "compute_output": 2,
    }  # fmt: skip
    parts = sum(figures[f"compute_{part}"]["ns"] for part in ("input", "infer", "output"))
    assert figures["success"]["ns"] == parts + figures["queue"]["ns"]
    assert [batch["batch_size"] for batch in old["batch_stats"]] == [1, 2]
    assert old["last_inference"] == 1_764_000_000_000
    assert unknown.status_code == 404
