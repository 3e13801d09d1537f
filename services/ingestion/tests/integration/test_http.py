"""HTTP: checked at once, appended to the raw topic, answered when the broker has it."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx2
import pytest

from millrace_ingestion.application.overload import REQUEST_BYTES
from millrace_ingestion.application.ports import ROW_BYTES
from millrace_ingestion.bootstrap import Parts
from millrace_ingestion.entrypoints.http import MAX_REQUEST_BYTES, MAX_ROWS, app
from millrace_kernel.errors import TransientError
from millrace_testkit.eventually import eventually

RAW = "millrace.raw.bikes"
EVENTS, LABELS = "/v1/pipelines/bikes/events", "/v1/pipelines/bikes/labels"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Client:
    """Posts as users do."""

    def __init__(self, http: httpx2.AsyncClient, parts: Parts) -> None:
        self.get = http.get
        self.parts = parts
        self._http = http

    async def post_chunks(self, path, chunks):
        headers = {"content-type": "application/json"}
        return await self._http.post(path, content=chunks, headers=headers)

    async def post(self, path, body, content_type="application/json", **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {
            "content-type": content_type,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await self._http.post(path, content=content, headers=sent)


@asynccontextmanager
async def serving(world, **settings):
    async with world.ingesting(**settings) as parts:
        transport = httpx2.ASGITransport(app=app(parts, parts.raw_topics.ready.is_set))
        async with httpx2.AsyncClient(transport=transport, base_url="http://ingestion") as http:
            yield Client(http, parts)


@pytest.fixture
async def bikes(world, pipeline):
    await world.apply(pipeline())
    return world


@pytest.fixture
async def client(bikes):
    async with serving(bikes) as client:
        await bikes.has_topic(RAW)
        yield client


async def test_an_event_is_appended_to_the_raw_topic_and_comes_out_accepted(bikes, client, row):
    answer = await client.post(EVENTS, row(), traceparent=TRACE, tracestate="a=b")
    await eventually(bikes.outputs)

    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    (record,) = bikes.broker.records(RAW)
    assert (record.key, json.loads(record.value)) == (b"s7", row())
    assert dict(record.headers) == {
        "content-type": b"application/json",
        "recordedtime": b"2026-11-21T12:00:00.000000Z",
        "traceparent": TRACE.encode(),
        "tracestate": b"a=b",
    }
    assert bikes.outputs()[0].event_id == "e1"


async def test_a_trace_context_that_is_none_is_not_passed_on(bikes, client, row):
    await client.post(EVENTS, row(), traceparent="nonsense-01", tracestate="a=b")

    (record,) = bikes.broker.records(RAW)
    assert {"traceparent", "tracestate"}.isdisjoint(dict(record.headers))


async def test_many_events_are_taken_as_lines(bikes, client, row):
    body = "\n".join(json.dumps(row(id=f"e{number}")) for number in range(500)) + "\n\n"

    answer = await client.post(EVENTS, body.encode(), "application/x-ndjson; charset=utf-8")
    await eventually(lambda: len(bikes.outputs()) == 500)

    assert answer.json() == {"accepted": 500}


async def test_cloudevents_are_taken_one_by_one_and_in_batches(bikes, client, row):
    def cloudevent(id_, **more):
        data = row(id=..., at=...)
        return {
            "specversion": "1.0",
            "id": id_,
            "source": "/",
            "type": "t",
            "time": row()["at"],
            "data": data,
        } | more

    one = await client.post(EVENTS, cloudevent("e1"), "application/cloudevents+json")
    batch = [
        cloudevent("e2"),
        cloudevent("any", type="millrace.label", data={"id": "e1", "label": 3}),
    ]
    two = await client.post(EVENTS, batch, "application/cloudevents-batch+json")
    await eventually(lambda: len(bikes.outputs()) == 3)

    assert (one.json(), two.json()) == ({"accepted": 1}, {"accepted": 2})
    assert [event.event_id for event in bikes.outputs()] == ["e1", "e2", "e1"]


async def test_labels_are_appended_beside_their_events(bikes, client):
    answer = await client.post(LABELS, {"id": "e1", "label": 7, "entity": "s7"})
    retracted = await client.post(LABELS, {"id": "e1", "label": None, "entity": "s7"})
    await eventually(lambda: len(bikes.outputs()) == 2)

    assert (answer.status_code, retracted.status_code) == (202, 202)
    assert bikes.kinds() == ["LabelObserved", "LabelRetracted"]
    assert bikes.broker.records(RAW)[0].key == b"s7"


async def test_a_retraction_may_be_a_cloudevent(bikes, client):
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/",
        "type": "millrace.label.retraction",
        "data": {"id": "e1"},
    }

    await client.post(LABELS, event, "application/cloudevents+json")
    await eventually(bikes.outputs)

    assert bikes.kinds() == ["LabelRetracted"]


async def test_a_row_against_the_rules_is_said_and_nothing_is_appended(bikes, client, row):
    body = "\n".join(json.dumps(one) for one in (row(), row(id=..., temp="warm"))).encode()

    answer = await client.post(EVENTS, body, "application/x-ndjson")

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["problems"] == [
        {
            "index": 1,
            "field": "id",
            "problem": "is missing",
            "fix": "every event and every label needs it",
        },
        {
            "index": 1,
            "field": "temp",
            "problem": "'warm' is not a number",
            "fix": "send a JSON number such as 21.5",
        },
    ]
    assert bikes.broker.records(RAW) == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"a": 1, "a": 2}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"\n\n", "application/x-ndjson"),
        (b"{}\n{", "application/x-ndjson"),
        (b"{}", "application/cloudevents+json"),
        (b"{}", "application/cloudevents-batch+json"),
        (b"[]", "application/cloudevents-batch+json"),
        (b"[1]", "application/cloudevents-batch+json"),
        (b"[" * 1_000_000, "application/cloudevents-batch+json"),
    ],
)
async def test_what_is_unreadable_is_400(bikes, client, body, content_type):
    answer = await client.post(EVENTS, body, content_type)

    assert answer.status_code == 400
    (problem, *_) = answer.json()["problems"]
    assert problem["problem"]
    assert problem["fix"]
    assert bikes.broker.records(RAW) == []


async def test_of_very_many_problems_the_first_hundred_are_listed(client):
    answer = await client.post(EVENTS, b"{}\n" * 1_000, "application/x-ndjson")

    assert len(answer.json()["problems"]) == 100
    assert "problems: 6000; the first 100 are listed" in answer.json()["detail"]


async def test_too_large_is_413(bikes, client, row):
    large_row = await client.post(EVENTS, row(extra="x" * 1_000_001))
    large_request = await client.post(
        EVENTS, b"\n" * (MAX_REQUEST_BYTES + 1), "application/x-ndjson"
    )

    assert (large_row.status_code, large_request.status_code) == (413, 413)
    assert large_row.json()["problems"][0]["index"] == 0
    assert bikes.broker.records(RAW) == []


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [("text/csv", {}), ("", {}), ("application/json", {"content_encoding": "gzip"})],
)
async def test_other_content_types_and_encodings_are_415(client, row, content_type, headers):
    answer = await client.post(EVENTS, row(), content_type, **headers)

    assert answer.status_code == 415


async def test_an_unknown_pipeline_is_404_with_the_known_ones(client, row):
    answer = await client.post("/v1/pipelines/trams/events", row())

    assert answer.status_code == 404
    assert answer.json()["known"] == ["bikes"]


async def test_while_the_broker_is_away_the_answer_is_503_and_later_202(bikes, client, row):
    def away(at, place):
        if at == "append" and place.topic == RAW:
            raise TransientError("the broker is away")

    bikes.broker.fault = away
    refused = await client.post(EVENTS, row())
    bikes.broker.fault = lambda at, place: None
    taken = await client.post(EVENTS, row())

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert taken.status_code == 202


async def test_a_broker_that_does_not_answer_is_waited_for_only_so_long(world, pipeline, row):
    class Silent(type(world.broker.producer())):
        async def send(self, topic, partition, messages):
            if topic == RAW:
                await eventually(lambda: False, within=5)
            await super().send(topic, partition, messages)

    await world.apply(pipeline())
    world.broker.producer = lambda: Silent(world.broker)
    async with serving(world) as client:
        await world.has_topic(RAW)
        answer = await client.post(EVENTS, row())

    assert answer.status_code == 503
    assert "not acknowledged within 0.3 s" in answer.json()["detail"]


def lines(row, count, start=0):
    return "\n".join(json.dumps(row(id=f"e{start + n}", station=f"s{n}")) for n in range(count))


async def metric(client, name):
    text = (await client.get("/metrics")).text
    return [line for line in text.splitlines() if line.startswith(name)]


async def test_more_than_may_wait_is_429_before_it_is_read_and_202_later(world, pipeline, row):
    """Three requests fit; the broker doesn't answer; the fourth is refused, and taken when the others are there."""
    answering = asyncio.Event()

    class Slow(type(world.broker.producer())):
        async def send(self, topic, partition, messages):
            if topic == RAW:
                await answering.wait()
            await super().send(topic, partition, messages)

    await world.apply(pipeline())
    world.broker.producer = lambda: Slow(world.broker)
    settings = {"ingestion_waiting_bytes": 4 * REQUEST_BYTES, "ingestion_append_seconds": 30}
    async with serving(world, **settings) as client:
        await world.has_topic(RAW)
        waiting = [asyncio.ensure_future(client.post(EVENTS, row(id=f"e{n}"))) for n in range(3)]
        await eventually(lambda: client.parts.gate.held_bytes >= 3 * REQUEST_BYTES)

        refused = await client.post(EVENTS, row(id="e3"))
        counted = await metric(client, 'millrace_requests_refused_total{reason="waiting"}')
        health = await client.get("/health/live")
        answering.set()
        taken = [answer.status_code for answer in await asyncio.gather(*waiting)]
        again = await client.post(EVENTS, row(id="e3"))

    assert (refused.status_code, refused.json()["reason"]) == (429, "waiting")
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert counted == ['millrace_requests_refused_total{reason="waiting"} 1.0']
    assert (taken, again.status_code, health.status_code) == ([202] * 3, 202, 200)
    assert client.parts.gate.held_bytes == 0
    assert len(world.broker.records(RAW)) == 4


async def test_a_request_holds_its_body_and_its_rows_until_it_is_answered(world, pipeline, row):
    answering = asyncio.Event()

    class Slow(type(world.broker.producer())):
        async def send(self, topic, partition, messages):
            if topic == RAW:
                await answering.wait()
            await super().send(topic, partition, messages)

    await world.apply(pipeline())
    world.broker.producer = lambda: Slow(world.broker)
    body = lines(row, 100).encode()
    async with serving(world, ingestion_append_seconds=30) as client:
        await world.has_topic(RAW)
        gate = client.parts.gate
        posting = asyncio.ensure_future(client.post(EVENTS, body, "application/x-ndjson"))
        await eventually(lambda: gate.held_bytes > REQUEST_BYTES + len(body))
        held = gate.held_bytes
        answering.set()
        taken = await posting

    assert held == REQUEST_BYTES + 2 * len(body) + 100 * ROW_BYTES
    assert (taken.status_code, gate.held_bytes) == (202, 0)


async def test_a_body_that_does_not_say_how_long_it_is_is_read_no_further_than_there_is_room(
    world, pipeline, row
):
    read = 0

    async def chunks():
        nonlocal read
        for _ in range(1_000):
            read += 1_000
            yield b" " * 1_000

    await world.apply(pipeline())
    async with serving(world, ingestion_waiting_bytes=4 * REQUEST_BYTES) as client:
        await world.has_topic(RAW)
        with client.parts.gate.request(RAW, 0):  # somebody else's
            answer = await client.post_chunks(EVENTS, chunks())

    assert (answer.status_code, answer.json()["reason"]) == (429, "waiting")
    assert read <= 2 * REQUEST_BYTES + 1_000


async def test_rows_that_came_late_hold_their_room_until_the_broker_has_them(world, pipeline, row):
    answering = asyncio.Event()

    class Slow(type(world.broker.producer())):
        async def send(self, topic, partition, messages):
            if topic == RAW:
                await answering.wait()
            await super().send(topic, partition, messages)

    await world.apply(pipeline())
    world.broker.producer = lambda: Slow(world.broker)
    settings = {"ingestion_waiting_bytes": REQUEST_BYTES, "ingestion_append_seconds": 1.5}
    async with serving(world, **settings) as client:
        await world.has_topic(RAW)
        late = await client.post(EVENTS, lines(row, 100).encode(), "application/x-ndjson")
        refused = await client.post(EVENTS, row(id="other"))
        answering.set()
        await eventually(lambda: not client.parts.gate.held_bytes)
        taken = await client.post(EVENTS, row(id="other"))

    assert (late.status_code, late.json()["accepted_rows"]) == (503, [])
    assert (refused.status_code, refused.json()["reason"]) == (429, "waiting")
    assert taken.status_code == 202
    assert len(world.broker.records(RAW)) == 101


async def test_while_its_own_reader_is_behind_the_answer_is_429_for_that_topic_only(
    world, pipeline, row
):
    """What producers wrote to the topic itself is not read while its events can't be published."""

    def no_events(errand, place):
        if place.topic == "millrace.events":
            raise TransientError("events can't be written")

    await world.apply(pipeline())
    await world.apply(pipeline(name="trams"))
    settings = {
        "ingestion_max_lag": 20,
        "ingestion_lag_seconds": 0.01,
        "ingestion_append_seconds": 30,
    }
    async with serving(world, **settings) as client:
        await world.has_topic(RAW)
        await world.has_topic("millrace.raw.trams")
        world.broker.fault = no_events
        for number in range(30):
            await world.send(row(id=f"raw{number}"))
        await eventually(lambda: client.parts.gate.lags.get(RAW) == 30)

        refused = await client.post(EVENTS, row())
        other = await client.post("/v1/pipelines/trams/events", row())
        lag = await metric(client, 'millrace_raw_lag_messages{topic="millrace.raw.bikes"}')
        world.broker.fault = lambda errand, place: None
        await eventually(lambda: client.parts.gate.lags.get(RAW) == 0)
        taken = await client.post(EVENTS, row())

    assert (refused.status_code, refused.json()["reason"]) == (429, "lag")
    assert "30 messages of millrace.raw.bikes wait" in refused.json()["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert lag == ['millrace_raw_lag_messages{topic="millrace.raw.bikes"} 30.0']
    assert (other.status_code, taken.status_code) == (202, 202)


async def test_of_lines_that_are_partly_there_the_answer_says_which(bikes, row):
    """Sending the others again completes the batch, each row there once."""

    def half_away(errand, place):
        if place.topic == RAW and place.partition % 2:
            raise TransientError("half of the brokers are away")

    body = lines(row, 40)
    async with serving(bikes, ingestion_append_seconds=30) as client:
        await bikes.has_topic(RAW)
        bikes.broker.fault = half_away
        partly = await client.post(EVENTS, body.encode(), "application/x-ndjson")
        bikes.broker.fault = lambda errand, place: None
        accepted = partly.json()["accepted_rows"]
        rest = [line for index, line in enumerate(body.splitlines()) if index not in accepted]
        whole = await client.post(EVENTS, "\n".join(rest).encode(), "application/x-ndjson")

    assert (partly.status_code, partly.headers["retry-after"]) == (503, "2")
    assert partly.json()["accepted"] == len(accepted)
    assert 0 < len(accepted) < 40
    assert (whole.status_code, whole.json()) == (202, {"accepted": 40 - len(accepted)})
    sent = sorted(json.loads(record.value)["id"] for record in bikes.broker.records(RAW))
    assert sent == sorted(f"e{number}" for number in range(40))


@pytest.mark.parametrize("body", [b"1\n" * (MAX_ROWS + 1), b"\n" * (2 * MAX_ROWS + 1)])
async def test_a_request_of_too_many_rows_is_413_however_small_they_are(bikes, client, body):
    answer = await client.post(EVENTS, body, "application/x-ndjson")

    assert answer.status_code == 413
    assert "send it in parts" in answer.json()["detail"]
    assert bikes.broker.records(RAW) == []


async def test_before_the_pipelines_are_known_the_answer_is_503(world, row):
    parts = world.parts()
    transport = httpx2.ASGITransport(app=app(parts, lambda: False))
    async with httpx2.AsyncClient(transport=transport, base_url="http://ingestion") as http:
        answer = await http.post(EVENTS, json=row())
        ready = await http.get("/health/ready")

    assert (answer.status_code, ready.status_code) == (503, 503)


async def test_it_documents_itself(client):
    paths = (await client.get("/openapi.json")).json()["paths"]

    operation = paths["/v1/pipelines/{pipeline}/events"]["post"]
    assert set(operation["responses"]) >= {
        *("202", "400", "404", "413", "415", "422", "429", "503")
    }
    assert "application/x-ndjson" in operation["requestBody"]["content"]
