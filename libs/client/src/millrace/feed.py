"""Reading Millrace's topics from outside: every partition, no group, nothing remembered."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass

from millrace.wire import Fields, wire_of
from millrace_bus.broker import Broker, Consumer, TopicPartition
from millrace_contracts.catalogue import catalogue
from millrace_contracts.message import Message, Record
from millrace_contracts.wire import WireTable
from millrace_kernel.time import MILLISECOND, Instant

_MOST_RECORDS = 5_000
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of the bus, decoded, with what its headers and its place say."""

    type: str  # without the package: DriftDetected
    fields: Fields
    topic: str
    partition: int
    offset: int
    appended_at: Instant  # by the broker's clock
    recorded_at: Instant
    id: str
    source: str
    sequence: bytes | None
    causation_id: str | None
    traceparent: str | None

    @property
    def pipeline(self) -> str:
        return str(self.fields.get("pipeline", ""))


def topics_of(types: Collection[str]) -> tuple[str, ...]:
    """The topics that carry these types (full names), each once."""
    return tuple(dict.fromkeys(catalogue().topic_of(name).name for name in types))


def all_types() -> tuple[str, ...]:
    return tuple(name for topic in catalogue().topics.values() for name in topic.events)


async def read_all(broker: Broker, types: Collection[str]) -> list[Happening]:
    """Everything of these types that is there now, each partition in order, partitions one after the other.

    Raises TransientError when the broker or a topic isn't there.
    """
    consumer, wire = broker.consumer(), wire_of(types)
    await consumer.start()
    try:
        places = await consumer.assign(topics_of(types))
        positions = dict(await consumer.beginnings(places))
        ends = await consumer.ends(places)
        _seek(consumer, positions)
        found: dict[TopicPartition, list[Happening]] = {place: [] for place in places}
        while any(positions[place] < ends[place] for place in places):
            for place, records in (await consumer.poll(_MOST_RECORDS, _POLL_SECONDS)).items():
                positions[place] = records[-1].offset + 1
                found[place] += understood(wire, [r for r in records if r.offset < ends[place]])
        return [happening for place in places for happening in found[place]]
    finally:
        await consumer.stop()


async def follow(
    broker: Broker, types: Collection[str], *, from_beginning: bool
) -> AsyncIterator[Sequence[Happening]]:
    """What comes, batch by batch, for ever; an empty batch when nothing came for half a second."""
    consumer, wire = broker.consumer(), wire_of(types)
    await consumer.start()
    try:
        places = await consumer.assign(topics_of(types))
        starts = await (consumer.beginnings(places) if from_beginning else consumer.ends(places))
        _seek(consumer, starts)
        while True:
            batches = await consumer.poll(_MOST_RECORDS, _POLL_SECONDS)
            records = [record for part in batches.values() for record in part]
            yield understood(wire, sorted(records, key=lambda record: record.timestamp))
    finally:
        await consumer.stop()


def understood(wire: WireTable, records: Sequence[Record]) -> list[Happening]:
    """The records that are of the wire table's types; tombstones and others are left out."""
    messages = [Message(record) for record in records]
    return [_happening(each) for each in messages if not each.is_tombstone and wire.decode(each)]


def _happening(message: Message) -> Happening:
    causation, trace = message.headers.get("ce_causationid"), message.headers.get("traceparent")
    return Happening(
        type=message.type.rpartition(".")[2],
        fields=message.event,
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        appended_at=Instant(message.record.timestamp * MILLISECOND),
        recorded_at=message.recorded_at,
        id=message.id,
        source=message.source,
        sequence=message.sequence,
        causation_id=causation.decode() if causation else None,
        traceparent=trace.decode() if trace else None,
    )


def _seek(consumer: Consumer, positions: Mapping[TopicPartition, int]) -> None:
    for place, position in positions.items():
        consumer.seek(place, position)
