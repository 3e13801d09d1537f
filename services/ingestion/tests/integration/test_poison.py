"""Whatever stands on a user's topic: a dead letter with a reason in words, or an event; and the next one is read."""

import gzip
import json

import pytest

from millrace_bus.fence import REPLAY_FOR, REPLAY_OF
from millrace_contracts.message import Outgoing
from millrace_testkit.eventually import eventually

GOOD = {"id": "poison", "at": "2026-11-21T11:00:00Z", "station": "s7", "temp": 1, "hour": 1}
TOPIC = "millrace.raw.bikes"


def body(**changes) -> bytes:
    return json.dumps(GOOD | {"weather": "clear"} | changes).encode()


def text(changed: str) -> bytes:
    """The good event as text, with a value that Python's JSON would not write."""
    return body(temp="?").replace(b'"?"', changed.encode())


DEAD = {
    "nothing": (b"", "not JSON"),
    "a tombstone": (None, "the value is empty"),
    "no JSON": (b"\x00\x01\x02", "not JSON"),
    "protobuf": (b"\x0a\x03abc", "not JSON"),
    "invalid utf-8": (b'{"id": "\xff\xfe"}', "not JSON"),
    "a list a million deep": (b"[" * 1_000_000, "not JSON"),
    "objects a million deep": (b'{"a":' * 200_000, "not JSON"),
    "objects 900 deep": (b'{"a":' * 900 + b"1" + b"}" * 900, "nested too deep"),
    "gzip": (gzip.compress(body()), "not JSON"),
    "10 MB": (body(extra="x" * 10_000_000), "send at most 1000000"),
    "10 MB of zeros": (bytes(10_000_000), "send at most 1000000"),
    "NaN": (text("NaN"), "not JSON"),
    "infinity": (text("-Infinity"), "not JSON"),
    "1e999": (text("1e999"), "not JSON"),
    "10 to the 400": (text("1" + "0" * 400), "not JSON"),
    "2 to the 80 as an int": (body(hour=2**80), "beyond 2**53"),
    "NaN in quotes": (body(temp="NaN"), "is not a number"),
    "a key twice": (b'{"id": "e1", "id": "e2"}', "stands twice"),
    "a key twice, escaped": (b'{"id": "e1", "\\u0069d": "e2"}', "stands twice"),
    "a key twice, deep down": (body()[:-1] + b', "x": {"y": 1, "y": 2}}', "stands twice"),
    "half a character": (b'{"id": "\\ud800"}', "not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + body(), "not JSON"),
    "a NUL in the id": (body(id="a\0b"), "U+0000"),
    "an id without end": (body(id="x" * 100_000), "send at most 255"),
    "an id of 10 to the 30": (body(id=10**30), "id"),
    "before 1970": (body(at=-1), "before 1970"),
    "long before 1970": (body(at=-(10**30)), "at"),
    "far ahead": (body(at="9999-12-31T23:59:59Z"), "after the latest that is believed"),
    "beyond the calendar": (body(at=10**17), "can't be seconds or milliseconds"),
    "the year 0": (body(at="0000-01-01T00:00:00Z"), "on no calendar"),
    "the year 10000": (body(at="10000-01-01T00:00:00Z"), "is not a time"),
    "a leap second": (body(at="2016-12-31T23:59:60Z"), "on no calendar"),
    "a time of 1 MB": (body(at="2" * 900_000), "is not a time"),
    "a list": (b"[]", "send one JSON object"),
    "null": (b"null", "send one JSON object"),
}


async def reasons_of(world, bikes, value, key=b"key", headers=()):
    """What became of one message between two good ones: why it died, and which events were accepted."""
    await world.apply(bikes())
    async with world.ingesting():
        await world.has_topic(TOPIC)
        await world.send(GOOD | {"id": "before", "weather": "x"})
        message = Outgoing(TOPIC, key, value, list(headers))
        await world.broker.producer().send(TOPIC, 0, [message])
        await world.send(GOOD | {"id": "after", "weather": "x"})
        await eventually(lambda: any(output.event_id == "after" for output in world.outputs()))
    assert all(dead == value for dead, _ in world.dead())
    return [reason for _, reason in world.dead()], sorted(o.event_id for o in world.outputs())


@pytest.mark.parametrize("name", DEAD)
async def test_poison_dies_with_its_reason(world, pipeline, name):
    value, expected = DEAD[name]
    reasons, accepted = await reasons_of(world, pipeline, value)
    assert accepted == ["after", "before"]
    [reason] = reasons
    assert expected in reason
    assert len(reason) <= 4_000


BAD_HEADERS = {
    "an id that is no text": [("ce_id", b"\xff\xfe")],
    "an id of 1 MB": [("ce_id", b"x" * 1_000_000)],
    "an id of 1 MB last": [("ce_id", b"1"), ("ce_id", b"x" * 1_000_000)],
    "a correlation of 1 MB": [("ce_correlationid", b"x" * 1_000_000)],
    "a time that is none": [("recordedtime", b"yesterday")],
    "a time in the year 1": [("ce_recordedtime", b"0001-01-01T00:00:00Z")],
    "a time that is no text": [("ce_recordedtime", b"\xff")],
    "a type that is no text": [("ce_type", b"\xff")],
    "a batch": [("content-type", b"application/cloudevents-batch+json")],
}
FINE_HEADERS = {
    "null": [("ce_id", None), ("note", None)],
    "an id twice": [("ce_id", b"other"), ("ce_id", b"this")],
    "a bad id, then a good one": [("ce_id", b"\xff"), ("ce_id", b"this")],
    "ten thousand": [(f"h{number}", b"x") for number in range(10_000)],
    "a source of 1 MB": [("ce_source", b"x" * 1_000_000)],
    "a sequence of nines": [("ce_source", b"mine"), ("ce_sequence", b"9" * 900)],
    "a sequence that is no text": [("ce_sequence", b"\xff")],
    "a trace that is none": [("traceparent", b"\xff-" * 300)],
    "a trace twice": [("traceparent", b"00-zz"), ("traceparent", b"")],
    "said to be compressed": [("content-encoding", b"gzip")],
    "said to be a replay": [(REPLAY_FOR, b"training"), (REPLAY_OF, b"x/0/0")],
}


@pytest.mark.parametrize("name", BAD_HEADERS)
async def test_a_bad_header_dies_with_its_reason(world, pipeline, name):
    reasons, accepted = await reasons_of(world, pipeline, body(), headers=BAD_HEADERS[name])
    assert accepted == ["after", "before"]
    assert len(reasons) == 1
    assert len(reasons[0]) <= 4_000


@pytest.mark.parametrize("name", FINE_HEADERS)
async def test_a_header_that_says_nothing_to_us_is_no_reason_to_refuse(world, pipeline, name):
    reasons, accepted = await reasons_of(world, pipeline, body(), headers=FINE_HEADERS[name])
    assert (reasons, accepted) == ([], ["after", "before", "poison"])


@pytest.mark.parametrize("key", [None, b"", b"\xff\xfe\x00", b"x" * 1_000_000])
async def test_the_key_may_be_anything(world, pipeline, key):
    reasons, accepted = await reasons_of(world, pipeline, body(), key=key)
    assert (reasons, accepted) == ([], ["after", "before", "poison"])


async def test_of_an_id_sent_twice_the_last_counts_for_the_event_too(world, pipeline):
    value = json.dumps(
        {name: said for name, said in GOOD.items() if name != "id"} | {"weather": "x"}
    )
    headers = [("ce_id", b"first"), ("ce_id", b"last")]
    reasons, accepted = await reasons_of(world, pipeline, value.encode(), headers=headers)
    assert (reasons, accepted) == ([], ["after", "before", "last"])


async def test_a_raw_message_that_is_replayed_counts_once_by_its_event_id(world, pipeline):
    """No fence: users' sequences mean what they want. The ledger of event ids tells a replay from news."""
    await world.apply(pipeline())
    async with world.ingesting():
        await world.has_topic(TOPIC)
        await world.send(GOOD | {"weather": "x", "hour": "eleven"})
        await eventually(world.dead)
        await world.apply(
            pipeline(version=2, fields="temp: float, hour: string, weather: category")
        )
        await world.send(GOOD | {"id": "v2", "weather": "x", "hour": "eleven"})
        await eventually(lambda: len(world.outputs()) + len(world.dead()) == 2)
        [letter, *_] = world.broker.records(TOPIC + ".dlq")
        again = [Outgoing(TOPIC, letter.key, letter.value, [(REPLAY_OF, f"{TOPIC}/0/0".encode())])]
        for _ in range(3):
            await world.broker.producer().send(TOPIC, 0, again)
        await world.send(GOOD | {"id": "after", "weather": "x", "hour": "eleven"})
        await eventually(lambda: any(o.event_id == "after" for o in world.outputs()))
    accepted = [o.event_id for o in world.outputs()]
    assert sorted(set(accepted)) == sorted(accepted)
    assert "poison" in accepted
