"""Whatever a producer puts on a raw topic, in whatever form: a submission, or a refusal that says what to send."""

# ruff: noqa: PT017  both ways out are allowed, and each keeps a law

import base64
import json
from math import isinf

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.message import Message
from millrace_ingestion.adapters.raw import read_message, read_object, split_batch
from millrace_ingestion.adapters.wire import RAW_WIRE
from millrace_ingestion.domain.events import ValidEvent, ValidLabel
from millrace_ingestion.domain.problems import Refusal, UnreadableError
from millrace_ingestion.domain.validation import validate
from millrace_kernel.time import EARLIEST, LATEST
from millrace_proto.v1.events_pb2 import EventAccepted
from millrace_testkit.fuzzing import effort
from millrace_testkit.memory import MemoryRecord

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner), max_leaves=8
)  # fmt: skip
FIELDS = (
    "id",
    "at",
    "station",
    "temp",
    "hour",
    "weather",
    "cnt",
    "label",
    "known_at",
    "event_time",
)
rows = st.dictionaries(st.sampled_from(FIELDS), json_values)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "specversion": st.just("1.0") | scalars,
        "id": scalars,
        "source": scalars,
        "type": st.sampled_from(["millrace.Label", "millrace.Retraction"]) | scalars,
        "time": st.just("2026-11-21T12:00:00Z") | scalars,
        "data": rows | json_values,
        "data_base64": st.binary(max_size=9).map(
            lambda content: base64.b64encode(content).decode()
        ),
    },
)
written = (rows | envelopes | json_values).map(
    lambda value: orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
)
spoilt = st.builds(
    lambda value, place, more: value[: place % (len(value) + 1)] + more + value[place % (len(value) + 1) :],
    written, st.integers(0, 500), st.binary(max_size=3) | st.just(b'"id":1,'),
)  # fmt: skip
bodies = written | spoilt | st.binary()
headers = st.dictionaries(
    st.sampled_from(["content-type", "ce_id", "ce_type", "ce_time", "recordedtime", "ce_recordedtime", "ce_correlationid", "traceparent"]),
    st.binary(max_size=12)
    | st.sampled_from([
        b"application/json", b"application/cloudevents+json", b"Application/CloudEvents+JSON; charset=utf-8",
        b"application/cloudevents-batch+json", b"2026-11-21T12:00:00Z", b"0001-01-01T00:00:00+23:59", b"x" * 300,
    ]),
)  # fmt: skip


def message_of(value, headers, timestamp=1_764_000_000_000):
    return Message(
        MemoryRecord("millrace.raw.bikes", 0, 0, timestamp, b"k", value, tuple(headers.items())),
        is_raw=True,
    )


def read(message):
    try:
        return read_message(message)
    except UnreadableError as error:
        assert error.problem.problem
        assert error.problem.fix
        return None


@effort(120)
@given(
    value=st.none() | bodies, sent=headers, timestamp=st.just(1) | st.integers(-(2**63), 2**63 - 1)
)
def test_any_record_is_a_submission_or_refused_with_what_to_send(value, sent, timestamp):
    submission = read(message_of(value, sent, timestamp))

    if submission is not None:
        assert EARLIEST <= submission.recorded_at <= LATEST
        assert isinstance(submission.body, dict)


RULES = []


@pytest.fixture(autouse=True)
def bikes(rules):
    """Compiled once: fixtures and hypothesis do not go together."""
    RULES[:] = [rules()]


@effort(120)
@given(body=rows, sent=headers)
def test_any_row_gives_an_event_that_can_be_written_or_problems_that_can_be_shown(body, sent):
    submission = read(message_of(orjson.dumps(body), sent))
    if submission is None:
        return
    valid = validate(RULES[0], submission)
    match valid:
        case Refusal(problems):
            assert problems
            orjson.dumps([[one.field, one.problem, one.fix] for one in problems])
        case ValidEvent(accepted=accepted):
            encoder = RAW_WIRE.encoder(accepted)
            written = EventAccepted.FromString(encoder.encode(accepted))
            assert (written.event_id, written.entity) == (accepted.event_id, accepted.entity)
            assert encoder.key(accepted).encode()
            assert not any(map(isinf, written.numbers))
        case ValidLabel(event_id=event_id):
            assert event_id.encode()


@effort(100)
@given(bodies)
def test_a_batch_is_split_into_what_was_sent_or_refused(body):
    try:
        elements = split_batch(body)
    except UnreadableError as error:
        assert error.problem.fix
        return
    assert orjson.loads(b"[" + b",".join(elements) + b"]") == orjson.loads(body)


@pytest.mark.parametrize(
    "body",
    [b"[" * 1_000_000, b"[" * 1_000_000 + b"]" * 1_000_000, b'[{"a":' * 500_000, b"[" + b"{}," * 900_000 + b"{}]"],
    ids=["open", "closed", "objects", "many"],
)  # fmt: skip
def test_a_batch_of_any_depth_or_length_is_split_or_refused(body):
    try:
        assert len(split_batch(body)) in (1, 900_001)
    except UnreadableError as error:
        assert "list" in error.problem.problem


_KEYS = st.sampled_from(["a", "b", "a:b", "", "temp", "é"])
_TEXTS = st.sampled_from(["", ":", "10:30:00", '"a":', "plain", "\\u003a", "[", "é:"])
_SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.just(0.5) | _TEXTS


def _objects(values):
    return st.lists(st.tuples(_KEYS, values), max_size=4).map(
        lambda pairs: (
            "{" + ",".join(f"{orjson.dumps(key).decode()}:{value}" for key, value in pairs) + "}"
        )
    )


_WRITTEN = st.recursive(
    _SCALARS.map(lambda value: orjson.dumps(value).decode()) | st.just('"\\u003a"'),
    lambda inner: (
        _objects(inner) | st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
    ),
    max_leaves=8,
)


def _repeats_a_key(text):
    """The slow way: every object's keys as they were written."""
    found = []

    def look(pairs):
        found.append(len({key for key, _ in pairs}) < len(pairs))

    json.loads(text, object_pairs_hook=look)
    return any(found)


@effort(150)
@given(_objects(_WRITTEN))
def test_a_key_that_stands_twice_is_found_however_the_object_is_read(text):
    try:
        read_object(text.encode())
        refused = False
    except UnreadableError:
        refused = True
    assert refused == _repeats_a_key(text)
