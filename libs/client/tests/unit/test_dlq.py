"""The command's own words and mistakes, and what a letter and its replay are; the rest is on a real Kafka."""

import struct
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.cli import main
from millrace.commands.dlq import _header, _row, _short
from millrace.errors import ClientError
from millrace.letters import (
    Letter,
    dead_letter_topic,
    letter_of,
    mark,
    marked_by,
    obstacle,
    replay_of,
)
from millrace.morgue import dead_letter_topics, read_letter, read_letters, replay_all
from millrace.printing import printable, value_lines, value_said
from millrace.settings import PROGRAMS
from millrace_bus.broker import TopicSpec
from millrace_bus.dead_letters import CONNECT, CUT, SPRING, cut, dead_letter
from millrace_bus.fence import REPLAY_FOR, REPLAY_OF
from millrace_bus.topology import ensure_topics, user_topics
from millrace_contracts.message import Message, Outgoing
from millrace_kernel.errors import PermanentError, TransientError
from millrace_proto.v1.events_pb2 import EventAccepted
from millrace_testkit.memory import MemoryBroker, MemoryRecord

EVENTS = "millrace.events"
AT = 1_767_225_600_000  # 2026-01-01
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def nothing_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    for number, name in enumerate(PROGRAMS):
        monkeypatch.setenv(f"{name.upper()}_PORT", str(2 + number))


def died(
    topic: str = EVENTS,
    value: bytes | None = b"v",
    headers: tuple[tuple[str, bytes | None], ...] = (("ce_id", b"i"), ("traceparent", TRACE)),
    key: bytes | None = b"bikes/s7",
    reason: str = "no such field",
) -> Outgoing:
    record = MemoryRecord(topic, 3, 17, AT, key, value, headers)  # type: ignore[arg-type]
    return dead_letter(Message(record), PermanentError(reason), "features")


def letter(outgoing: Outgoing | None = None, offset: int = 0, **more: Any) -> Letter:
    out = outgoing or died(**more)
    headers = tuple(out.headers)
    return letter_of(MemoryRecord(out.topic, 0, offset, AT + 1_000, out.key, out.value, headers))


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["dlq", "list"], 1, "Kafka does not answer"),
        (["dlq", "list", "--since", "soon"], 2, "'soon' is not a duration"),
        (["dlq", "show", EVENTS, "17"], 2, "'17' is no PARTITION/OFFSET; write 0/17"),
        (["dlq", "show", EVENTS, "0/9" + "9" * 30], 2, "is no PARTITION/OFFSET"),
        (["dlq", "replay", EVENTS], 2, "say which letters"),
        (["dlq", "replay", EVENTS, "0/1", "--all"], 2, "say which letters"),
        (["dlq", "replay", EVENTS, "--all", "--since", "1h"], 2, "say which letters"),
        (["dlq", "replay", EVENTS, "x/1"], 2, "'x/1' is no PARTITION/OFFSET"),
        (["dlq", "bury"], 2, "No such command 'bury'"),
    ],
)
def test_a_mistake_is_told_in_words(
    arguments: list[str], code: int, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    said = capfd.readouterr().err
    assert told in said
    assert "Traceback" not in said


def test_a_letter_tells_what_died_where_and_why() -> None:
    found = letter()
    assert found.origin is not None
    assert (found.service, found.origin.text, found.pipeline) == (
        "features",
        "millrace.events/3/17",
        "bikes",
    )
    assert found.error == "millrace_kernel.errors.PermanentError"
    assert found.reason == "no such field"
    assert letter(topic="millrace.raw.bikes").pipeline == "bikes"
    assert letter(topic="orders").pipeline is None


def test_a_letter_of_springs_alone_is_read_too() -> None:
    headers = [header for header in died().headers if not header[0].startswith(CONNECT)]
    found = letter(Outgoing("x.dlq", b"k", b"v", headers))
    assert found.origin is not None
    assert (found.service, found.origin.text) == ("features", "millrace.events/3/17")
    assert found.reason == "no such field"


def test_a_replay_is_the_message_as_it_was_and_says_for_whom() -> None:
    again = replay_of(letter())
    assert (again.topic, again.key, again.value, again.timestamp) == (
        EVENTS,
        b"bikes/s7",
        b"v",
        None,
    )
    assert again.headers == [
        ("ce_id", b"i"),
        ("traceparent", TRACE),
        ("ce_recordedtime", b"2026-01-01T00:00:00.000000Z"),
        (REPLAY_FOR, b"features"),
        (REPLAY_OF, b"millrace.events/3/17"),
    ]


def test_what_followed_from_the_place_is_told_of_millraces_own_topics_only() -> None:
    own = dict(replay_of(letter(headers=())).headers)
    assert own["ce_id"] == b"millrace.events/3/17"
    raw = dict(replay_of(letter(topic="orders", headers=(("null", None),))).headers)
    assert (
        "ce_id" not in raw
    )  # the object's own id counts; one of ours would take the place of a missing one
    assert raw["recordedtime"] == b"2026-01-01T00:00:00.000000Z"
    assert raw["null"] is None


def test_a_replay_of_a_replay_names_the_last_death_only() -> None:
    first = replay_of(letter())
    record = MemoryRecord(EVENTS, 3, 99, AT, first.key, first.value, tuple(first.headers))
    second = dead_letter(Message(record), PermanentError("again"), "features")
    again = replay_of(letter(second))
    assert [value for name, value in again.headers if name == REPLAY_OF] == [
        b"millrace.events/3/99"
    ]
    assert len(again.headers) == len(first.headers)


@pytest.mark.parametrize(
    ("hopeless", "told"),
    [
        (Outgoing("x.dlq", b"k", b"v", []), "do not say where it came from"),
        (died("millrace.pipelines"), "apply the pipeline again instead"),
        (cut(died(value=b"v" * 999)), "its value of 999 bytes was cut"),
        (
            Outgoing("x.dlq", b"k", b"v", [(CONNECT + "topic", b"x"), (CONNECT + "partition", b"0"), (CONNECT + "offset", b"1"), (CONNECT + "connector.name", b"jdbc-sink")]),
            "whoever wrote it has to replay it",
        ),
        (Outgoing("x.dlq", b"k", b"v", [(SPRING + "original-topic", b"x"), (SPRING + "original-offset", b"1")]), "do not say where"),
    ],
)  # fmt: skip
def test_what_cant_be_replayed_says_why(hopeless: Outgoing, told: str) -> None:
    assert told in (obstacle(letter(hopeless)) or "")
    assert obstacle(letter()) is None


def test_a_mark_is_no_letter() -> None:
    said = mark(letter(offset=42))
    record = MemoryRecord(said.topic, 0, 50, AT, said.key, said.value, tuple(said.headers))
    assert marked_by(record) == (0, 42)
    assert marked_by(MemoryRecord("t.dlq", 0, 0, AT, None, b"v", record.headers)) is None
    assert (
        marked_by(MemoryRecord("t.dlq", 0, 0, AT, None, None, (("millrace-replayed", b"x"),)))
        is None
    )


@given(st.text())
def test_nothing_printed_commands_a_terminal(text: str) -> None:
    said = printable(text)
    assert said.isprintable()
    assert text.isprintable() == (said == text)


def test_values_are_decoded_where_they_can_be() -> None:
    event = EventAccepted(pipeline="bikes", event_id="e1", numbers=[float("nan"), 1.5])
    typed = (("ce_type", b"millrace.v1.EventAccepted"),)
    said = value_said(letter(value=event.SerializeToString(), headers=typed))
    assert (said["as"], said["content"]["event_id"]) == ("millrace.v1.EventAccepted", "e1")
    assert orjson.dumps(said)
    assert value_said(letter(value=b'{"a": 1}', headers=())) == {
        "as": "json",
        "content": {"a": 1},
        "bytes": 8,
    }
    assert value_said(letter(value=b"\xff\x00", headers=typed)) == {
        "as": "hex",
        "content": "ff00",
        "bytes": 2,
    }
    assert value_said(letter(value=None))["as"] == "nothing"


@given(st.binary(max_size=300) | st.sampled_from([b"[" * 9_999, b"[" * 600 + b"]" * 600, b"1" * 99_999, b"\x1b[2J", b'"\\u001b[2J"', bytes(9_999_999), b'"' + b"x" * 999_999 + b'"']))  # fmt: skip
def test_any_value_is_shown_in_bounded_space(value: bytes) -> None:
    for headers in ((), (("ce_type", b"millrace.v1.EventAccepted"),)):
        found = letter(value=value, headers=headers)
        lines = list(value_lines(found))
        assert all(line.isprintable() for line in lines)
        assert sum(map(len, lines)) < 60_000
        orjson.dumps(value_said(found))


def test_headers_are_told_as_what_they_are() -> None:
    assert _header(SPRING + "original-offset", struct.pack(">q", 17)) == "17"
    assert _header(SPRING + "original-partition", struct.pack(">i", 3)) == "3"
    assert _header("ce_id", b"abc\x1b") == "abc\\x1b"
    assert _header("x", b"\xff\x00") == "0xff00"
    assert _header("x", None) == "null"


def test_a_row_is_short_in_a_table_and_whole_in_json() -> None:
    found = letter(reason="r" * 1_000, key=b"k" * 1_000)
    assert len(_row(found)["reason"]) == 1_000
    short = _short(_row(found))
    assert len(short["reason"]) < 200
    assert len(short["key"]) < 50
    assert short["error"] == "PermanentError"


async def world() -> MemoryBroker:
    broker = MemoryBroker()
    await ensure_topics(broker)
    await broker.create_topics(user_topics(["orders"], 4))
    return broker


async def put(broker: MemoryBroker, *letters: Outgoing) -> None:
    for each in letters:
        await broker.producer().send(each.topic, 0, [each])


async def replayed(broker: MemoryBroker, letters: list[Letter]) -> int:
    done: list[Letter] = []

    async def told(some: Any) -> None:
        done.extend(some)

    await replay_all(broker, letters, told)
    return len(done)


async def test_a_replay_goes_to_the_original_partition_whatever_the_key_says() -> None:
    broker = await world()
    await put(broker, *(died("orders", key=key) for key in (None, b"a", b"b", b"c")))
    letters = await read_letters(broker, ["orders.dlq"])
    assert await replayed(broker, letters) == 4
    # all four died at one place: one message, written four times
    assert [(r.partition, r.key) for r in broker.records("orders")] == [(3, None)]


async def test_a_replay_cut_short_goes_on_where_it_was_and_marks_what_is_done() -> None:
    broker, fails = await world(), {"on": True}
    for offset in (3, 1, 2):
        record = MemoryRecord(EVENTS, 1, offset, AT, b"k", b"%d" % offset, ())
        await put(broker, dead_letter(Message(record), PermanentError("no"), "features"))

    def fault(errand: str, place: Any) -> None:
        if fails["on"] and errand == "acknowledge" and place.topic == EVENTS:
            raise TransientError("the broker is away")

    broker.fault = fault
    letters = await read_letters(broker, ["millrace.events.dlq"])
    with pytest.raises(TransientError):
        await replayed(broker, letters)
    assert [each.replayed_at for each in await read_letters(broker, ["millrace.events.dlq"])] == [
        None
    ] * 3
    fails["on"] = False
    assert await replayed(broker, letters) == 3
    found = await read_letters(broker, ["millrace.events.dlq"])
    assert len(found) == 3  # marks are no letters
    assert all(each.replayed_at is not None for each in found)
    values = [record.value for record in broker.records(EVENTS)]
    assert values == [b"1", b"2", b"3"] * 2  # in the order in which they came


async def test_a_partition_that_is_gone_is_told() -> None:
    broker = await world()
    await broker.create_topics([TopicSpec("small", 1), TopicSpec("small.dlq", 1)])
    await put(broker, died("small"))
    with pytest.raises(ClientError, match="small has no partition 3 any more"):
        await replayed(broker, await read_letters(broker, ["small.dlq"]))


async def test_one_letter_is_found_with_its_value_or_missed_in_words() -> None:
    broker = await world()
    await put(broker, died(value=b"one"), died(value=b"two"))
    assert (await read_letter(broker, "millrace.events.dlq", (0, 1))).value == b"two"
    with pytest.raises(ClientError, match=r"no letter 0/2 in millrace\.events\.dlq"):
        await read_letter(broker, "millrace.events.dlq", (0, 2))
    assert await read_letters(broker, []) == []
    assert "millrace.events.dlq" in await dead_letter_topics(broker)
    assert dead_letter_topic(EVENTS) == dead_letter_topic(EVENTS + ".dlq")
    assert CUT not in letter().by_name
