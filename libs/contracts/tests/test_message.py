"""What a reader learns from a record's headers."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Cause, Message
from millrace_contracts.wire import WireError, WireTable
from millrace_kernel.time import Instant
from millrace_proto.v1.drift_pb2 import DriftDetected


@dataclass(frozen=True)
class Record:
    headers: tuple[tuple[str, bytes], ...] = ()
    value: bytes | None = b""
    topic: str = "millrace.drift"
    partition: int = 2
    offset: int = 7
    timestamp: int = 5
    key: bytes | None = None


def test_a_record_without_headers_is_known_by_its_position_and_its_brokers_time():
    message = Message(Record())
    assert message.id == "millrace.drift/2/7"
    assert message.correlation_id == message.id
    assert message.recorded_at == 5_000
    assert message.sequence is None


def test_the_recorded_time_of_history_counts_before_the_brokers():
    message = Message(Record(headers=(("recordedtime", b"1970-01-01T00:00:01Z"),)), is_raw=True)
    assert message.recorded_at == 1_000_000
    assert message.recorded_bytes == b"1970-01-01T00:00:01.000000Z"


def test_headers_that_are_not_text_do_not_stop_a_reader():
    message = Message(
        Record(headers=(("ce_id", b"\xff"), ("ce_type", b"\xfe"), ("ce_source", b"\xfd"))),
        is_raw=True,
    )
    assert (message.id, message.type, message.source) == ("\ufffd", "\ufffd", "\ufffd")


def test_broken_bytes_of_a_known_type_are_a_permanent_error_that_says_where():
    wire = WireTable(
        {"millrace.v1.DriftDetected": lambda message: DriftDetected.FromString(message.value)}
    )
    message = Message(
        Record(headers=(("ce_type", b"millrace.v1.DriftDetected"),), value=b"\xff\xff")
    )
    with pytest.raises(WireError, match="millrace\\.drift/2/7"):
        wire.decode(message)


def test_a_type_without_a_decoder_is_not_for_this_service():
    wire = WireTable({})
    assert not wire.decode(Message(Record(headers=(("ce_type", b"millrace.v1.DriftDetected"),))))


def test_a_type_that_no_topic_carries_fails_at_start():
    with pytest.raises(KeyError, match="is in no topic"):
        WireTable({"millrace.v1.Typo": lambda message: message})


def test_an_event_that_the_table_does_not_write_is_named():
    with pytest.raises(TypeError, match="writes no str"):
        WireTable({}).encoder("text")


@given(
    st.integers(0, 10**15), st.integers(0, 99_999), st.integers(0, 10**15), st.integers(0, 99_999)
)
def test_sequences_sort_as_positions_do(
    offset: int, index: int, other_offset: int, other_index: int
):
    earlier = (offset, index) < (other_offset, other_index)
    assert (sequence(offset, index) < sequence(other_offset, other_index)) == earlier


def test_a_kept_cause_survives_its_text():
    cause = Cause("id", Instant(7), "first", "00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    assert Cause.from_text(cause.to_text()) == cause
