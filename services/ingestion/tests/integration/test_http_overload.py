"""Who can't be served now is told so before anything is read of it, and what was taken is held until it is answered."""

import asyncio
import json

import pytest

from millrace_ingestion.application.overload import REQUEST_BYTES
from millrace_ingestion.application.ports import ROW_BYTES
from millrace_ingestion.entrypoints.http import MAX_ROWS
from millrace_kernel.errors import TransientError
from millrace_testkit.eventually import eventually

RAW = "millrace.raw.bikes"
EVENTS = "/v1/pipelines/bikes/events"


def lines(row, count, start=0):
    return "\n".join(json.dumps(row(id=f"e{start + n}", station=f"s{n}")) for n in range(count))


@pytest.fixture
def answering(world):
    """Until this is set, the broker acknowledges nothing of the users' topic."""
    event = asyncio.Event()

    class Slow(type(world.broker.producer())):
        async def send(self, topic, partition, messages):
            if topic == RAW:
                await event.wait()
            await super().send(topic, partition, messages)

    world.broker.producer = lambda: Slow(world.broker)
    return event


async def metric(client, name):
    text = (await client.get("/metrics")).text
    return [line for line in text.splitlines() if line.startswith(name)]


async def test_more_than_may_wait_is_429_before_it_is_read_and_202_later(
    serving, world, pipeline, row, answering
):
    """Three requests fit; the broker doesn't answer; the fourth is refused, and taken when the others are there."""
    await world.apply(pipeline())
    settings = {"ingestion_waiting_bytes": 4 * REQUEST_BYTES, "ingestion_append_seconds": 30}
    async with serving(**settings) as client:
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


async def test_a_request_holds_its_body_and_its_rows_until_it_is_answered(
    serving, world, pipeline, row, answering
):
    await world.apply(pipeline())
    body = lines(row, 100).encode()
    async with serving(ingestion_append_seconds=30) as client:
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
    serving, world, pipeline, row
):
    read = 0

    async def chunks():
        nonlocal read
        for _ in range(1_000):
            read += 1_000
            yield b" " * 1_000

    await world.apply(pipeline())
    async with serving(ingestion_waiting_bytes=4 * REQUEST_BYTES) as client:
        await world.has_topic(RAW)
        with client.parts.gate.request(RAW, 0):  # somebody else's
            answer = await client.post_chunks(EVENTS, chunks())

    assert (answer.status_code, answer.json()["reason"]) == (429, "waiting")
    assert read <= 2 * REQUEST_BYTES + 1_000


async def test_rows_that_came_late_hold_their_room_until_the_broker_has_them(
    serving, world, pipeline, row, answering
):
    await world.apply(pipeline())
    settings = {"ingestion_waiting_bytes": REQUEST_BYTES, "ingestion_append_seconds": 1.5}
    async with serving(**settings) as client:
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
    serving, world, pipeline, row
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
    async with serving(**settings) as client:
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


async def test_of_lines_that_are_partly_there_the_answer_says_which(serving, bikes, row):
    """Sending the others again completes the batch, each row there once."""

    def half_away(errand, place):
        if place.topic == RAW and place.partition % 2:
            raise TransientError("half of the brokers are away")

    body = lines(row, 40)
    async with serving(ingestion_append_seconds=30) as client:
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
