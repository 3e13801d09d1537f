"""Reads the topics of dead letters, and puts letters back where they came from."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import replace

from millrace.errors import ClientError
from millrace.letters import (
    Letter,
    Origin,
    Place,
    is_dead_letter_topic,
    letter_of,
    mark,
    marked_by,
    replay_of,
)
from millrace_bus.broker import Broker, Producer, TopicPartition
from millrace_contracts.message import Outgoing, Record
from millrace_kernel.time import MILLISECOND, Instant

_MOST_RECORDS = 500
_POLL_SECONDS = 0.5
_BYTES_AT_ONCE = 8 << 20

Told = Callable[[Sequence[Letter]], Awaitable[None]]


async def dead_letter_topics(broker: Broker) -> list[str]:
    return sorted(topic for topic in await broker.topics() if is_dead_letter_topic(topic))


async def read_letters(broker: Broker, topics: Collection[str]) -> list[Letter]:
    """All letters that are there now, without their values, and whether each has been replayed."""
    found: list[Letter] = []
    replayed: dict[tuple[str, Place], Instant] = {}
    if not topics:
        return found
    async for record in _records(broker, topics):
        place = marked_by(record)
        if place is not None:
            replayed.setdefault((record.topic, place), Instant(record.timestamp * MILLISECOND))
        else:
            found.append(letter_of(record).without_value)
    letters = [
        replace(each, replayed_at=replayed.get((each.topic, (each.partition, each.offset))))
        for each in found
    ]
    return sorted(letters, key=lambda each: (each.topic, each.partition, each.offset))


async def read_letter(broker: Broker, topic: str, place: Place) -> Letter:
    """One letter with its value. Raises ClientError when there is none."""
    async with aclosing(_records(broker, [topic], {place[0]: place[1]})) as records:
        async for record in records:
            if (record.partition, record.offset) == place and marked_by(record) is None:
                return letter_of(record)
            if record.partition == place[0] and record.offset > place[1]:
                break
    raise ClientError(
        f"no letter {place[0]}/{place[1]} in {topic}; `millrace dlq list --topic {topic}` shows those there are"
    )


async def replay_all(broker: Broker, letters: Sequence[Letter], told: Told) -> None:
    """Put letters back, a few at a time: appended, acknowledged, marked as replayed, told.

    Whenever it is cut short, those that are marked are back; one that is back and not marked may be put back again:
    its reader handles it once. Raises ClientError, TransientError.
    """
    if not letters:
        return
    producer = broker.producer()
    await producer.start()
    try:
        async for some in _in_parts(broker, letters):
            await _put_back(producer, some)
            await _mark(producer, some)
            await told(some)
    finally:
        await producer.stop()


async def _put_back(producer: Producer, letters: Sequence[Letter]) -> None:
    """In the order in which they came; a letter that was written twice goes once."""
    parts: dict[tuple[str, int], dict[tuple[int, str], Outgoing]] = {}
    for letter in sorted(letters, key=lambda each: _origin(each).offset):
        origin = _origin(letter)
        part = parts.setdefault((origin.topic, origin.partition), {})
        part.setdefault((origin.offset, letter.service), replay_of(letter))
    for (topic, partition), messages in parts.items():
        if partition >= await producer.partitions(topic):
            raise ClientError(
                f"{topic} has no partition {partition} any more: its readers' state of it is gone too"
            )
        await producer.send(topic, partition, list(messages.values()))


async def _mark(producer: Producer, letters: Sequence[Letter]) -> None:
    marks: dict[tuple[str, int], list[Outgoing]] = {}
    for letter in letters:
        marks.setdefault((letter.topic, letter.partition), []).append(mark(letter))
    for (topic, partition), messages in marks.items():
        await producer.send(topic, partition, messages)


async def _in_parts(broker: Broker, letters: Sequence[Letter]) -> AsyncIterator[list[Letter]]:
    """The same letters with their values, a few megabytes at a time."""
    wanted = {(each.topic, each.partition, each.offset) for each in letters}
    firsts: dict[int, int] = {}
    for each in letters:
        firsts[each.partition] = min(each.offset, firsts.get(each.partition, each.offset))
    some: list[Letter] = []
    async for record in _records(broker, {each.topic for each in letters}, firsts):
        if (record.topic, record.partition, record.offset) not in wanted:
            continue
        some.append(letter_of(record))
        if sum(each.size for each in some) > _BYTES_AT_ONCE or len(some) >= _MOST_RECORDS:
            yield some
            some = []
    if some:
        yield some


async def _records(
    broker: Broker, topics: Collection[str], firsts: Mapping[int, int] | None = None
) -> AsyncGenerator[Record, None]:
    """Every record that is there now, from the first of each partition that is asked for."""
    consumer = broker.consumer()
    await consumer.start()
    try:
        places = await consumer.assign(topics)
        positions, ends = dict(await consumer.beginnings(places)), await consumer.ends(places)
        for place in places:
            if firsts is not None:
                positions[place] = max(positions[place], firsts.get(place.partition, ends[place]))
            consumer.seek(place, positions[place])
        while any(positions[place] < ends[place] for place in places):
            for place, records in (await consumer.poll(_MOST_RECORDS, _POLL_SECONDS)).items():
                positions[place] = records[-1].offset + 1
                for record in _before(records, place, ends):
                    yield record
    finally:
        await consumer.stop()


def _before(
    records: Sequence[Record], place: TopicPartition, ends: Mapping[TopicPartition, int]
) -> list[Record]:
    return [record for record in records if record.offset < ends[place]]


def _origin(letter: Letter) -> Origin:
    origin = letter.origin
    if origin is None:
        raise ClientError(f"{letter.topic} {letter.place} does not say where it came from")
    return origin
