"""What a dead letter says, and to whose tools: Kafka Connect's headers, Spring's, and what is left of one that does not fit."""

import struct
from collections import Counter
from typing import Any

import pytest

from millrace_bus.dead_letters import (
    CONNECT,
    CUT,
    SPRING,
    cut,
    dead_letter,
)
from millrace_contracts.message import Message, Outgoing
from millrace_contracts.wire import WireError
from millrace_kernel.errors import PermanentError
from millrace_testkit.memory import MemoryRecord


def letter_of(error: BaseException, **changes: Any) -> Outgoing:
    known = {"headers": (("ce_id", b"1"), ("ce_id", b"2"), ("null", None)), "timestamp": 1_234}
    record = MemoryRecord(**{"topic": "t", "partition": 3, "offset": 17, "key": b"\xff\x00", "value": b"v"} | known | changes)  # fmt: skip
    return dead_letter(Message(record), error, "features")


def raised() -> PermanentError:
    try:
        try:
            return {}["temp"]
        except KeyError as error:
            raise PermanentError("the field temp is missing") from error
    except PermanentError as error:
        return error


def test_a_letter_has_the_headers_of_connects_reporter() -> None:
    said = dict(letter_of(raised()).headers)
    trace = said.pop(CONNECT + "exception.stacktrace").decode()
    assert {name: value for name, value in said.items() if name.startswith(CONNECT)} == {
        "__connect.errors.topic": b"t",
        "__connect.errors.partition": b"3",
        "__connect.errors.offset": b"17",
        "__connect.errors.connector.name": b"millrace-features",
        "__connect.errors.task.id": b"3",
        "__connect.errors.stage": b"TASK_PUT",
        "__connect.errors.class.name": f"{__name__}.raised".encode(),
        "__connect.errors.exception.class.name": b"millrace_kernel.errors.PermanentError",
        "__connect.errors.exception.message": b"the field temp is missing",
    }
    assert "KeyError: 'temp'" in trace
    assert trace.rstrip().endswith("PermanentError: the field temp is missing")


def test_a_letter_has_the_headers_of_springs_recoverer_with_numbers_as_java_writes_them() -> None:
    said = dict(letter_of(raised()).headers)
    assert said.pop(SPRING + "exception-stacktrace") == said[CONNECT + "exception.stacktrace"]
    assert {name: value for name, value in said.items() if name.startswith(SPRING)} == {
        "kafka_dlt-original-topic": b"t",
        "kafka_dlt-original-partition": b"\0\0\0\3",
        "kafka_dlt-original-offset": b"\0\0\0\0\0\0\0\x11",
        "kafka_dlt-original-timestamp": struct.pack(">q", 1_234),
        "kafka_dlt-original-timestamp-type": b"CreateTime",
        "kafka_dlt-original-consumer-group": b"millrace-features",
        "kafka_dlt-exception-fqcn": b"millrace_kernel.errors.PermanentError",
        "kafka_dlt-exception-cause-fqcn": b"builtins.KeyError",
        "kafka_dlt-exception-message": b"the field temp is missing",
    }


def test_a_letter_is_the_message_byte_for_byte_and_of_its_own_time() -> None:
    letter = letter_of(raised())
    assert (letter.topic, letter.key, letter.value) == ("t.dlq", b"\xff\x00", b"v")
    assert letter.headers[:3] == [("ce_id", b"1"), ("ce_id", b"2"), ("null", None)]
    assert letter.timestamp is None  # with that of 2011, retention would take it at once


def test_bytes_that_do_not_decode_died_in_the_converter() -> None:
    said = dict(letter_of(WireError("no protobuf")).headers)
    assert said[CONNECT + "stage"] == b"VALUE_CONVERTER"
    assert said[CONNECT + "class.name"] == b"millrace-features"  # handed over, never raised


@pytest.mark.parametrize(
    ("number", "name"), [(0, b"CreateTime"), (1, b"LogAppendTime"), (-1, b"NoTimestampType")]
)
def test_the_kind_of_timestamp_is_told_in_javas_words(number: int, name: bytes) -> None:
    class Stamped(MemoryRecord):
        timestamp_type = number

    record = Stamped("t", 0, 0, 5, None, b"", ())
    said = dict(dead_letter(Message(record), PermanentError("no"), "features").headers)
    assert said[SPRING + "original-timestamp-type"] == name


def test_what_an_earlier_death_said_is_replaced() -> None:
    once = letter_of(raised())
    twice = letter_of(PermanentError("again"), headers=tuple(once.headers), topic="u")
    names = Counter(name for name, _ in twice.headers)
    assert all(count == 1 for name, count in names.items() if name.startswith((CONNECT, SPRING)))
    assert dict(twice.headers)[CONNECT + "topic"] == b"u"
    assert dict(twice.headers)[SPRING + "exception-message"] == b"again"


def test_reasons_and_traces_are_bounded_and_circles_of_causes_end() -> None:
    error = PermanentError("x" * 10_000_000)
    other = ValueError("y" * 10_000_000)
    error.__cause__, other.__cause__ = other, error
    letter = letter_of(error)
    assert sum(len(value or b"") for _, value in letter.headers) < 26_000
    assert dict(letter.headers)[SPRING + "exception-cause-fqcn"] == b"builtins.ValueError"
    letter = letter_of(PermanentError("\ud800 is half a character"))
    assert dict(letter.headers)[CONNECT + "exception.message"] == b"? is half a character"


def test_what_is_left_of_a_letter_that_does_not_fit_says_how_much_there_was() -> None:
    headers = tuple((f"h{number}", b"x" * 500) for number in range(5_000))
    whole = letter_of(raised(), value=b"z" * 20_000_000, headers=(*headers, ("big", b"x" * 9_000)))
    left = cut(whole)
    said = dict(left.headers)
    assert said[CUT] == b"20000000"
    assert said[CONNECT + "offset"] == b"17"
    assert said[SPRING + "original-offset"] == struct.pack(">q", 17)
    assert "big" not in said
    size = len(left.value or b"") + sum(len(n) + len(v or b"") for n, v in left.headers)
    assert 250_000 < size < 400_000
