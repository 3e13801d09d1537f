"""Whatever stands on a raw topic, it is read or refused with a reason."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contracts.message import Message
from millrace_ingestion.adapters.raw import read_message, read_object, read_submission, split_batch
from millrace_ingestion.domain.events import MAX_VALUE_BYTES, Kind, Submission
from millrace_ingestion.domain.problems import UnreadableError
from millrace_kernel.errors import PermanentError
from millrace_kernel.time import parse_rfc3339
from millrace_testkit.memory import MemoryRecord

STRUCTURED = {"content-type": b"application/cloudevents+json; charset=UTF-8"}
OBJECT = b'{"id": "e1"}'


def message(
    value: bytes | None = OBJECT, timestamp: int = 1_700_000_000_000, **headers: bytes
) -> Message:
    return Message(MemoryRecord("t", 0, 0, timestamp, None, value, tuple(headers.items())))


def envelope(**changes) -> bytes:
    event = {
        "specversion": "1.0",
        "id": "ce-1",
        "source": "/shop",
        "type": "com.example.order",
        "time": "2026-11-21T10:00:00Z",
        "data": {"id": "e1"},
    } | changes
    return json.dumps({name: value for name, value in event.items() if value is not ...}).encode()


def test_bare_json_is_an_event(noon):
    assert read_submission(OBJECT, {}, noon) == Submission(Kind.EVENT, {"id": "e1"}, noon)


def test_a_structured_cloudevent_carries_the_object_as_its_data(noon):
    assert read_submission(envelope(), STRUCTURED, noon) == Submission(
        Kind.EVENT, {"id": "e1"}, noon, id="ce-1", time="2026-11-21T10:00:00Z"
    )


def test_the_content_type_of_a_structured_cloudevent_may_be_in_capitals(noon):
    headers = {"content-type": b"Application/CloudEvents+JSON"}

    assert read_submission(envelope(), headers, noon).id == "ce-1"


def test_a_binary_cloudevent_carries_its_attributes_in_headers(noon):
    headers = {
        "content-type": b"application/json",
        "ce_id": b"ce-1",
        "ce_time": b"2026-11-21T10:00:00Z",
        "ce_type": b"com.example.order",
    }

    assert read_submission(OBJECT, headers, noon) == Submission(
        Kind.EVENT, {"id": "e1"}, noon, id="ce-1", time="2026-11-21T10:00:00Z"
    )


@pytest.mark.parametrize(
    ("kind", "type_name"),
    [
        (Kind.LABEL, "millrace.label"),
        (Kind.RETRACTION, "millrace.label.retraction"),
        (Kind.EVENT, "millrace.labels"),
    ],
)
def test_the_cloudevents_type_says_what_is_a_label(noon, kind, type_name):
    binary = read_submission(OBJECT, {"ce_type": type_name.encode()}, noon)
    structured = read_submission(envelope(type=type_name), STRUCTURED, noon)
    overruled = read_submission(envelope(), STRUCTURED | {"ce_type": type_name.encode()}, noon)

    assert [binary.kind, structured.kind, overruled.kind] == [kind] * 3


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{}{}", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": 1e999}', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b'{"a": "\\ud800"}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[]", "a list"),
        (b"null", "null"),
        (b'"text"', "'text'"),
        (b"12", "12"),
        (b"[" * 1_000_000, "bytes|not JSON"),
        (b"[" * 999_999, "not JSON"),
        (b'{"a":' * 199_999, "not JSON"),
        (b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", "nested too deep"),
        (b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "not JSON"),
        (b'{"a":"' + b"x" * MAX_VALUE_BYTES + b'"}', "1000008 bytes"),
    ],
)
def test_what_is_no_object_is_refused(value, said):
    with pytest.raises(UnreadableError, match=said):
        read_object(value)


def test_a_value_as_large_as_it_may_be_is_read():
    assert read_object(b'{"a":"' + b"x" * (MAX_VALUE_BYTES - 8) + b'"}')


@pytest.mark.parametrize(
    "value",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"b": {"a": 1, "a": 2}}',
        b'{"b": [{"a": 1, "a": 2}]}',
        b'{"a": "12:30", "a": 1}',
        b'{"a": {"x": 1}, "a": {"y": 1}}',
        b'{"a": "x\\u003ay", "a": "z"}',
        b'{"a": "x\\u003Ay", "b": 1, "a": "z"}',
        b'{"\\u003a": 1, ":": 1}',
    ],
)
def test_a_key_that_stands_twice_is_refused(value):
    with pytest.raises(UnreadableError, match="stands twice"):
        read_object(value)


@pytest.mark.parametrize(
    "value",
    [
        b'{"a": 1, "b": {"a": 1}}',
        b'{"a": "\\u003a", "b": ":::"}',
        b'{"a": "x\\\\u003a"}',
        b'{"a": "a:b", "c": [":", {"d:": ":"}]}',
        b'{"a": 1180591620717411303424, "b": "\\u003a"}',
    ],
)
def test_colons_in_texts_are_no_keys(value):
    assert read_object(value) == json.loads(value)


class Pairs(list):
    """An object as its keys were written: maybe one of them twice."""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(st.text(max_size=3), inner), max_size=3).map(Pairs),
    max_leaves=8,
)  # fmt: skip


def written(value: object, ascii_only: bool) -> str:
    if isinstance(value, Pairs):
        inner = (
            f"{json.dumps(key, ensure_ascii=ascii_only)}: {written(item, ascii_only)}"
            for key, item in value
        )
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(item, ascii_only) for item in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def says_a_key_twice(value: object) -> bool:
    if isinstance(value, Pairs):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(says_a_key_twice(item) for _, item in value)
    return isinstance(value, list) and any(says_a_key_twice(item) for item in value)


@given(
    st.lists(st.tuples(st.text(st.sampled_from("a:\\\"ü"), max_size=2), json_values), max_size=4).map(Pairs),
    st.booleans(),
)  # fmt: skip
@settings(deadline=None)
def test_exactly_the_objects_that_say_a_key_twice_are_refused(pairs, ascii_only):
    value = written(pairs, ascii_only).encode()

    if says_a_key_twice(pairs):
        with pytest.raises(UnreadableError, match="stands twice"):
            read_object(value)
    else:
        assert read_object(value) == json.loads(value)


@pytest.mark.parametrize(
    ("value", "headers", "said"),
    [
        (envelope(data=...), STRUCTURED, "data: null"),
        (envelope(data="{}"), STRUCTURED, "data: '{}'"),
        (envelope(data=..., data_base64="e30="), STRUCTURED, "data_base64"),
        (envelope(id=1), STRUCTURED, "CloudEvent's id is 1"),
        (envelope(time=1), STRUCTURED, "CloudEvent's time is 1"),
        (envelope(type=[]), STRUCTURED, "CloudEvent's type is a list"),
        (OBJECT, {"content-type": b"application/cloudevents-batch+json"}, "batch"),
        (OBJECT, {"content-type": b"application/cloudevents+avro"}, "avro"),
        (OBJECT, {"content-type": b"application/cloudevents\xff"}, "content type"),
        (OBJECT, {"ce_id": b"\xff"}, "header ce_id is not UTF-8"),
        (OBJECT, {"ce_type": b"\xff"}, "header ce_type is not UTF-8"),
    ],
)
def test_a_cloudevent_that_is_none_is_refused(noon, value, headers, said):
    with pytest.raises(UnreadableError, match=said):
        read_submission(value, headers, noon)


def test_a_message_was_recorded_when_its_header_says_or_when_kafka_took_it():
    replayed = message(recordedtime=b"2026-11-21T10:00:00Z")

    assert read_message(message()).recorded_at == 1_700_000_000_000_000
    assert read_message(replayed).recorded_at == parse_rfc3339("2026-11-21T10:00:00Z")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (message(None), "value is empty"),
        (message(timestamp=-1), "on no calendar"),
        (message(timestamp=2**62), "on no calendar"),
        (message(recordedtime=b"soon"), "header"),
        (message(recordedtime=b"\xff"), "header"),
        (message(ce_recordedtime=b"9999"), "header"),
        (message(ce_id=b"\xff"), "header"),
        (message(ce_correlationid=b"\xff"), "header"),
        (message(ce_id=b"x" * 256), "header ce_id has 256 characters"),
    ],
)
def test_a_message_whose_surroundings_are_broken_is_refused(broken, said):
    with pytest.raises(UnreadableError, match=said):
        read_message(broken)


def test_a_batch_is_split_into_the_bytes_that_were_sent():
    assert split_batch(b'[ {"a": 1,  "a":2}, 1e400 , "x"]') == [
        b'{"a": 1,  "a":2}',
        b"1e400",
        b'"x"',
    ]
    assert split_batch(b"[]") == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[1", b"[" * 16_000_000, b"\xff", b"[1]x"])
def test_what_is_no_batch_is_refused(body):
    with pytest.raises(UnreadableError):
        split_batch(body)


headers = st.dictionaries(
    st.sampled_from(["content-type", "ce_id", "ce_time", "ce_type", "recordedtime", "ce_correlationid", "x"]),
    st.binary(max_size=12) | st.sampled_from([b"application/cloudevents+json", b"millrace.label", b"2026-11-21T10:00:00Z"]),
    max_size=4,
)  # fmt: skip
near_json = st.text('{}[]":,0123456789.eE-+ntfalsru \\', max_size=30).map(str.encode)


@given(
    st.none() | st.binary() | near_json | st.just(envelope()),
    headers,
    st.integers(-(2**63), 2**63 - 1),
)
@settings(max_examples=400, deadline=None)
def test_arbitrary_bytes_raise_nothing_but_permanent_errors(value, headers, timestamp):
    arbitrary = Message(MemoryRecord("t", 0, 0, timestamp, None, value, tuple(headers.items())))

    with suppress(PermanentError):
        assert isinstance(read_message(arbitrary).body, dict)
