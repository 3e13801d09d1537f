"""HTTP: checked at once, appended to the raw topic, answered when the broker has it."""

import json

import httpx2
import pytest

from millrace_ingestion.entrypoints.http import MAX_REQUEST_BYTES, app
from millrace_kernel.errors import TransientError
from millrace_testkit.eventually import eventually

RAW = "millrace.raw.bikes"
EVENTS, LABELS = "/v1/pipelines/bikes/events", "/v1/pipelines/bikes/labels"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


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


async def test_a_broker_that_does_not_answer_is_waited_for_only_so_long(
    serving, world, pipeline, row
):
    class Silent(type(world.broker.producer())):
        async def send(self, topic, partition, messages):
            if topic == RAW:
                await eventually(lambda: False, within=5)
            await super().send(topic, partition, messages)

    await world.apply(pipeline())
    world.broker.producer = lambda: Silent(world.broker)
    async with serving() as client:
        await world.has_topic(RAW)
        answer = await client.post(EVENTS, row())

    assert answer.status_code == 503
    assert "not acknowledged within 0.3 s" in answer.json()["detail"]


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
