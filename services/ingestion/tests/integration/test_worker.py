"""Raw messages in, events and labels out, on the broker in memory."""

from collections import Counter

import pytest
from opentelemetry.sdk.trace import TracerProvider

from millrace_contracts.message import Message
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import derived_id
from millrace_kernel.time import parse_rfc3339
from millrace_telemetry.tracing import Tracing
from millrace_testkit.eventually import eventually

RAW = "millrace.raw.bikes"


async def test_an_event_is_accepted_and_says_where_it_comes_from(bikes, row):
    async with bikes.ingesting():
        await bikes.has_topic(RAW)
        await bikes.send(row(), partition=3)
        await eventually(bikes.outputs)

    (record,) = bikes.broker.records("millrace.events")
    (event,) = bikes.outputs()
    message = Message(record)
    assert (event.pipeline, event.pipeline_version, event.event_id, event.entity) == (
        "bikes",
        1,
        "e1",
        "s7",
    )
    assert (list(event.numbers), list(event.texts)) == ([20.5, 11.0], ["clear"])
    assert record.key == b"bikes/s7"
    assert message.id == derived_id("event", "bikes", "e1")
    assert message.source == "millrace/ingestion/millrace.raw.bikes/3"
    assert message.recorded_at == parse_rfc3339("2026-11-21T12:00:00Z")
    assert dict(record.headers)["ce_time"] == b"2026-11-21T11:00:00.000000Z"


async def test_labels_come_within_events_and_apart_and_are_taken_back(bikes, row):
    async with bikes.ingesting():
        await bikes.has_topic(RAW)
        await bikes.send(row(cnt=5))
        await bikes.send({"id": "e1", "label": 6}, ce_type=b"millrace.label")
        await bikes.send({"id": "e1"}, ce_type=b"millrace.label.retraction")
        await eventually(lambda: len(bikes.outputs()) == 4)

    assert bikes.kinds() == ["EventAccepted", "LabelObserved", "LabelObserved", "LabelRetracted"]
    _, within, apart, retracted = bikes.outputs()
    assert (within.number, within.known_at_us) == (5, parse_rfc3339("2026-11-21T12:00:00Z"))
    assert (apart.number, retracted.event_id) == (6, "e1")


async def test_a_replay_counts_as_recorded_when_its_header_says(bikes, row):
    then = b"2020-01-01T00:00:00Z"
    async with bikes.ingesting():
        await bikes.has_topic(RAW)
        await bikes.send(row(at="2020-01-01T00:04:00Z"), recordedtime=then)
        await bikes.send(row(id="e2", at="2020-01-01T01:00:00Z"), recordedtime=then)
        await eventually(lambda: bikes.outputs() and bikes.dead())

    (record,) = bikes.broker.records("millrace.events")
    assert Message(record).recorded_at == parse_rfc3339("2020-01-01T00:00:00Z")
    assert "after the latest that is believed" in bikes.dead()[0][1]


async def test_the_same_event_sent_again_counts_once(bikes, row):
    async with bikes.ingesting():
        await bikes.has_topic(RAW)
        for id_ in ("e1", "e2", "e1", "e1", "e2", "e3"):
            await bikes.send(row(id=id_))
        await eventually(lambda: len(bikes.outputs()) == 3)

    assert [event.event_id for event in bikes.outputs()] == ["e1", "e2", "e3"]


async def test_what_was_seen_before_a_restart_is_not_forgotten(bikes, row):
    async with bikes.ingesting():
        await bikes.has_topic(RAW)
        await bikes.send(row(cnt=5))
        await eventually(lambda: len(bikes.outputs()) == 2)
    await bikes.send(row(cnt=5))
    await bikes.send({"id": "e1", "label": 5}, ce_type=b"millrace.label")
    await bikes.send(row(id="e2"))

    async with bikes.ingesting():
        await eventually(lambda: len(bikes.outputs()) == 3)

    assert Counter(bikes.kinds()) == {"EventAccepted": 2, "LabelObserved": 1}


async def test_poison_goes_to_the_dead_letters_with_its_reason_and_the_rest_goes_on(bikes, row):
    poison = {
        b"\xff\xfe": "not JSON",
        b"[" * 1_000_000: "not JSON",
        b'{"a":' + b"[" * 400 + b"]" * 400 + b"}": "nested too deep",
        b'{"id": "e1", "id": "e2"}': "stands twice",
        b"x" * 1_000_001: "1000001 bytes",
        b"{}": "pipeline bikes refuses it: id: is missing; ",
        None: "value is empty",
    }
    async with bikes.ingesting():
        await bikes.has_topic(RAW)
        for value in poison:
            await bikes.send(value)
        await bikes.send(row(), ce_id=b"\xff")
        await bikes.send(row(), recordedtime=b"soon")
        await bikes.send(row())
        await eventually(bikes.outputs)

    dead = bikes.dead()
    assert len(dead) == len(poison) + 2
    for (value, reason), (sent, said) in zip(dead, poison.items(), strict=False):
        assert value == sent
        assert said in reason
    assert "ce_id is not UTF-8" in dead[-2][1]
    assert "recordedtime is not a time" in dead[-1][1]
    assert len(bikes.outputs()) == 1


async def test_two_pipelines_read_one_topic_and_one_may_refuse(world, pipeline, row):
    await world.apply(pipeline("bikes", topic="rides"))
    await world.apply(pipeline("trams", topic="rides", fields="speed: float"))
    async with world.ingesting():
        await world.has_topic("rides")
        await world.send(row(), topic="rides")
        await world.send(row(id="e2", speed=3), topic="rides")
        await eventually(lambda: len(world.outputs()) == 3)

    assert sorted((event.pipeline, event.event_id) for event in world.outputs()) == [
        ("bikes", "e1"),
        ("bikes", "e2"),
        ("trams", "e2"),
    ]
    ((_, reason),) = world.dead("rides")
    assert reason.startswith("pipeline trams refuses it: speed: is missing")


async def test_a_pipeline_applied_later_is_read_from_its_topics_beginning(world, pipeline, row):
    async with world.ingesting():
        await world.apply(pipeline())
        await world.has_topic(RAW)
        await world.send(row())
        await eventually(lambda: len(world.outputs()) == 1)
        await world.apply(pipeline("trams", fields="speed: float"))
        await world.has_topic("millrace.raw.trams")
        await world.send(row(speed=3), topic="millrace.raw.trams")
        await eventually(lambda: len(world.outputs()) == 2)
        await world.send(row(id="e2"))
        await eventually(lambda: len(world.outputs()) == 3)


async def test_the_newest_version_is_stamped_and_its_rules_count(bikes, pipeline, row):
    async with bikes.ingesting() as parts:
        await bikes.has_topic(RAW)
        await bikes.send(row())
        await eventually(bikes.outputs)
        await bikes.apply(pipeline(version=2, fields="temp: float"))
        await eventually(lambda: parts.pipelines.rules("bikes").version == 2)
        await bikes.send(row(id="e2", hour=...))
        await eventually(lambda: len(bikes.outputs()) == 2)

    versions = {
        event.event_id: (event.pipeline_version, list(event.numbers)) for event in bikes.outputs()
    }
    assert versions == {"e1": (1, [20.5, 11.0]), "e2": (2, [20.5])}


async def test_what_is_sent_after_a_pipelines_end_waits_for_its_return(bikes, pipeline, row):
    async with bikes.ingesting() as parts:
        await bikes.has_topic(RAW)
        await bikes.end("bikes")
        await eventually(lambda: not parts.pipelines.names)
        await bikes.send(row())
        await bikes.apply(pipeline(version=2))
        await eventually(bikes.outputs)

    assert bikes.outputs()[0].pipeline_version == 2


async def test_labels_that_features_aggregate_follow_their_event(world, pipeline, row, label_mean):
    await world.apply(
        pipeline(features=label_mean, label="field: cnt, kind: regression, topic: truths")
    )
    placed = {"id": "e9", "label": 4, "entity": "s7", "event_time": "2026-11-21T10:00:00Z"}
    async with world.ingesting():
        await world.has_topic(RAW)
        await world.has_topic("truths")
        await world.send(row(cnt=5))
        await world.send({"id": "e8", "label": 6}, topic="truths")
        await world.send(placed, topic="truths")
        await eventually(lambda: len(world.outputs()) == 5)

    records = world.broker.records("millrace.events")
    assert {record.key for record in records} == {b"bikes/s7"}
    labelled = [output for output in world.outputs() if type(output).__name__ == "EventLabelled"]
    assert sorted((one.event_id, one.number) for one in labelled) == [("e1", 5), ("e9", 4)]
    ((_, reason),) = world.dead("truths")
    assert "event 'e8' has not been seen in this partition" in reason


@pytest.mark.parametrize("errand", ["append", "acknowledge"])
async def test_sends_that_fail_make_the_same_bytes_again_and_nothing_twice(bikes, row, errand):
    failures = iter([True, False, True, True, False, True])

    def fault(at, place):
        if (
            at == errand
            and place.topic in ("millrace.events", "millrace.labels")
            and next(failures, False)
        ):
            raise TransientError("the broker is away")

    rows = [
        row(id=f"e{number % 40}", station=f"s{number % 7}", cnt=number % 40) for number in range(80)
    ]
    async with bikes.ingesting():
        await bikes.has_topic(RAW)
        bikes.broker.fault = fault
        for number, one in enumerate(rows):
            await bikes.send(one, partition=number % 2)
        await eventually(lambda: len({event.event_id for event in effective(bikes)}) == 40)
        await eventually(lambda: next(failures, None) is None)
        await bikes.send(row(id="last"))
        await eventually(lambda: any(event.event_id == "last" for event in bikes.outputs()))

    same = {}
    for record in bikes.broker.records("millrace.events") + bikes.broker.records("millrace.labels"):
        headers = dict(record.headers)
        told = (record.key, record.value, record.headers)
        assert same.setdefault((headers["ce_source"], headers["ce_sequence"]), told) == told
    counted = Counter((type(event).__name__, event.event_id) for event in effective(bikes))
    assert set(counted.values()) == {1}
    assert len(counted) == 81


def effective(world):
    """What a fencing reader sees: in each partition, the newest sequence of each source only moves on."""
    newest, seen = {}, []
    records = world.broker.records("millrace.events") + world.broker.records("millrace.labels")
    for record, output in zip(records, world.outputs(), strict=True):
        headers = dict(record.headers)
        place = (headers["ce_source"], record.topic, record.partition)
        if newest.get(place, b"") < headers["ce_sequence"]:
            newest[place] = headers["ce_sequence"]
            seen.append(output)
    return seen


async def test_a_producers_own_cloudevents_sequence_hides_nothing(bikes, row):
    async with bikes.ingesting():
        await bikes.has_topic(RAW)
        for number in (
            b"9",
            b"10",
        ):  # CloudEvents' sequence extension may count without leading zeros
            event = row(id=f"e{number.decode()}")
            await bikes.send(event, ce_source=b"/shop", ce_sequence=number)
        await eventually(lambda: len(bikes.outputs()) == 2, within=1)


async def test_headers_that_are_not_text_do_not_stop_a_service_that_traces(bikes, row):
    sampled = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with bikes.ingesting(tracing=Tracing(TracerProvider(shutdown_on_exit=False))):
        await bikes.has_topic(RAW)
        await bikes.send(row(), traceparent=b"\xff-01")
        await bikes.send(row(id="e2"), traceparent=sampled, ce_type=b"\xff")
        await bikes.send(row(id="e3"))
        await eventually(lambda: len(bikes.outputs()) == 2, within=1)
