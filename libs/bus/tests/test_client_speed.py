"""What the bus does in aiokafka's place must come to the same."""

from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.codec import lz4_decode, lz4_encode
from aiokafka.consumer import fetcher
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

import millrace_bus.kafka  # noqa: F401  makes the client quick
from millrace_bus.client_speed import ReadRecord, quick_lz4
from millrace_bus.kafka_producer import fill
from millrace_contracts.message import Outgoing
from millrace_testkit.fuzzing import effort

_NONE, _LZ4 = 0, 3
# few strategies, and no st.text(): drawing must be quick on a machine that is busy with other things
_contents = st.sampled_from([None, b"", b"k", b"value" * 9, bytes(range(60))])
_headers = st.sampled_from(
    [[], [("ce_id", b"1")], [("a", b""), ("ä", b"\xff\x00"), ("a", b"twice")]]
)
_message = st.tuples(_contents, _contents, _headers, st.integers(1, 2**41)).map(
    lambda parts: Outgoing("topic", parts[0], parts[1], parts[2], parts[3])
)
_messages = st.lists(_message, min_size=1, max_size=12)


def built(batch: BatchBuilder) -> bytes:
    batch.close()
    return bytes(batch._build())


def read(content: bytes) -> list[ReadRecord]:
    records = fetcher.PartitionRecords(
        KafkaPartition("topic", 3), MemoryRecords(content), [], 0, None, None, True, 0
    )
    return list(records)


def as_aiokafka_appends(messages: list[Outgoing], batch: BatchBuilder) -> int:
    taken = 0
    for message in messages:
        appended = batch.append(
            timestamp=message.timestamp,
            key=message.key,
            value=message.value,
            headers=message.headers,
        )
        if appended is None:
            break
        taken += 1
    return taken


@effort(60)
@given(_messages, st.sampled_from([80, 300, 1 << 20]), st.sampled_from([_NONE, _LZ4]))
def test_a_batch_is_the_one_that_aiokafka_builds(
    messages: list[Outgoing], size: int, compression: int
) -> None:
    ours, theirs = BatchBuilder(size, compression), BatchBuilder(size, compression)
    taken = fill(ours, messages, 0)
    assert taken == as_aiokafka_appends(messages, theirs)
    assert ours.record_count() == theirs.record_count() == taken
    assert built(ours) == built(theirs)


@effort(60)
@given(_messages, st.data())
def test_a_batch_may_begin_in_the_middle(messages: list[Outgoing], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(messages) - 1))
    batch = BatchBuilder(1 << 20, _LZ4)
    assert fill(batch, messages, start) == len(messages) - start
    assert [record.value for record in read(built(batch))] == [
        message.value for message in messages[start:]
    ]


@effort(60)
@given(_messages, st.sampled_from([_NONE, _LZ4]))
def test_what_is_read_is_what_was_written(messages: list[Outgoing], compression: int) -> None:
    batch = BatchBuilder(1 << 20, compression)
    fill(batch, messages, 0)
    records = read(built(batch))
    assert len(records) == len(messages)
    for offset, (record, message) in enumerate(zip(records, messages, strict=True)):
        assert record == ("topic", 3, offset, message.timestamp, 0, message.key, message.value, message.headers)  # fmt: skip
        assert record.serialized_key_size == (-1 if message.key is None else len(message.key))
        assert record.serialized_value_size == (-1 if message.value is None else len(message.value))


@effort(60)
@given(st.binary(max_size=5_000), st.integers(1, 50))
def test_quick_lz4_is_lz4(content: bytes, times: int) -> None:
    assert lz4_decode(quick_lz4(content * times)) == content * times
    assert lz4_decode(lz4_encode(content * times)) == content * times


def test_the_builder_in_use_compresses_quickly() -> None:
    """A thorough compression would give fewer bytes of this text: so it is seen which one was at work."""
    text = b"".join(b"%d times %d is %d; " % (n, n % 97, n * (n % 97)) for n in range(20_000))
    batch = BatchBuilder(1 << 20, _LZ4)
    fill(batch, [Outgoing("topic", None, text, [], 1)], 0)
    size = len(built(batch))
    assert abs(size - len(quick_lz4(text))) < 100
    assert len(lz4_encode(text)) < 0.9 * size


def test_the_client_hands_out_what_the_bus_reads() -> None:
    batch: Any = BatchBuilder(1 << 20, _LZ4)
    fill(batch, [Outgoing("topic", b"k", b"v", [("ce_id", b"1")], 7)], 0)
    [record] = read(built(batch))
    assert type(record) is ReadRecord
    assert dict(record.headers) == {"ce_id": b"1"}
