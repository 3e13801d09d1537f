"""A broker in memory: the second implementation of the broker port, for tests that need no disk and no Java.

It keeps what Kafka keeps for us: order within a partition, offsets without gaps, groups whose partitions move with
`revoked`/`assigned`, reading from any offset. It passes the same suite as the real one (`broker_suite`).
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from typing_extensions import override

from millrace_bus.broker import (
    Broker,
    Consumer,
    Producer,
    RebalanceListener,
    TopicPartition,
    TopicSpec,
)
from millrace_contracts.message import Outgoing, Record
from millrace_kernel.errors import TransientError
from millrace_kernel.time import Instant

Fault = Callable[[str, TopicPartition], None]


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def no_fault(errand: str, place: TopicPartition) -> None:
    """All goes well."""


@dataclass(slots=True)
class _Group:
    topics: dict["MemoryConsumer", frozenset[str]] = field(default_factory=dict)
    owners: dict[TopicPartition, "MemoryConsumer"] = field(default_factory=dict)
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    rebalancing: asyncio.Lock = field(default_factory=asyncio.Lock)


class MemoryBroker(Broker):
    """`now` stamps records that carry no time. `fault(errand, place)` may raise TransientError before or after an append.

    Errands: "append" (nothing was written), "acknowledge" (all was written, the answer is lost).
    """

    def __init__(
        self, *, now: Callable[[], Instant] = lambda: Instant(0), fault: Fault = no_fault
    ) -> None:
        self.now = now
        self.fault = fault
        self.logs: dict[TopicPartition, list[MemoryRecord]] = {}
        self._counts: dict[str, int] = {}
        self._groups: dict[str, _Group] = defaultdict(_Group)
        self._arrived: set[asyncio.Event] = set()

    @override
    def consumer(
        self, group: str | None = None, listener: RebalanceListener | None = None
    ) -> "MemoryConsumer":
        return MemoryConsumer(self, self._groups[group] if group else None, listener)

    @override
    def producer(self) -> "MemoryProducer":
        return MemoryProducer(self)

    @override
    async def create_topics(self, topics: Collection[TopicSpec]) -> None:
        for topic in topics:
            if topic.name not in self._counts:
                self._counts[topic.name] = topic.partitions
                for number in range(topic.partitions):
                    self.logs[TopicPartition(topic.name, number)] = []

    @override
    async def topics(self) -> frozenset[str]:
        return frozenset(self._counts)

    def records(self, topic: str) -> list[MemoryRecord]:
        """Everything in a topic, partition after partition."""
        return [record for place in self.places(topic) for record in self.logs[place]]

    def places(self, topic: str) -> list[TopicPartition]:
        count = self._counts.get(topic)
        if count is None:
            raise TransientError(f"topic {topic} does not exist in memory (yet)")
        return [TopicPartition(topic, number) for number in range(count)]

    def append(self, place: TopicPartition, messages: Iterable[Outgoing]) -> None:
        log = self.logs[place]
        for message in messages:
            timestamp = self.now() // 1_000 if message.timestamp is None else message.timestamp
            log.append(
                MemoryRecord(
                    *place, len(log), timestamp, message.key, message.value, tuple(message.headers)
                )
            )
        for event in self._arrived:
            event.set()

    def group_offsets(self, group: str) -> Mapping[TopicPartition, int]:
        """What the group has been told: lag tools see this."""
        return self._groups[group].offsets

    def watch(self, event: asyncio.Event) -> None:
        self._arrived.add(event)

    def unwatch(self, event: asyncio.Event) -> None:
        self._arrived.discard(event)


class MemoryProducer(Producer):
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    @override
    async def start(self) -> None: ...

    @override
    async def stop(self) -> None: ...

    @override
    async def partitions(self, topic: str) -> int:
        return len(self._broker.places(topic))

    @override
    async def send(self, topic: str, partition: int, messages: Sequence[Outgoing]) -> None:
        place = self._broker.places(topic)[partition]
        self._broker.fault("append", place)
        await asyncio.sleep(0)
        self._broker.append(place, messages)
        await asyncio.sleep(0)
        self._broker.fault("acknowledge", place)


class MemoryConsumer(Consumer):
    def __init__(
        self, broker: MemoryBroker, group: _Group | None, listener: RebalanceListener | None
    ) -> None:
        self._broker = broker
        self._group = group
        self._listener = listener
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._arrived = asyncio.Event()
        self._turn = 0

    @override
    async def start(self) -> None:
        self._broker.watch(self._arrived)

    @override
    async def stop(self) -> None:
        self._broker.unwatch(self._arrived)
        if self._group is not None:
            self._group.topics.pop(self, None)
            await self._rebalance()

    @override
    async def subscribe(self, topics: Collection[str]) -> None:
        assert self._group is not None, (
            "subscribing needs a group; assign takes everything without one"
        )
        self._group.topics[self] = frozenset(topics)
        await self._rebalance()

    @override
    async def assign(self, topics: Collection[str]) -> list[TopicPartition]:
        places = [place for topic in sorted(topics) for place in self._broker.places(topic)]
        self._positions = dict.fromkeys(places, 0)
        return places

    @override
    async def poll(
        self, max_records: int, timeout: float
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        batches = self._take(max_records)
        if not batches:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
            except TimeoutError:
                return {}
            batches = self._take(max_records)
        await asyncio.sleep(0)
        return batches

    def _take(self, max_records: int) -> dict[TopicPartition, Sequence[Record]]:
        batches: dict[TopicPartition, Sequence[Record]] = {}
        places = sorted(self._positions.keys() - self._paused)
        self._turn += 1  # begin elsewhere each time, or a busy partition would starve the others
        for place in (
            places[self._turn % len(places) :] + places[: self._turn % len(places)]
            if places
            else ()
        ):
            position = self._positions[place]
            records = self._broker.logs[place][position : position + max_records]
            if records:
                batches[place] = records
                self._positions[place] = position + len(records)
                max_records -= len(records)
            if max_records <= 0:
                break
        return batches

    @override
    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition in self._positions:
            self._positions[partition] = offset

    @override
    def pause(self, partition: TopicPartition) -> None:
        self._paused.add(partition)

    @override
    def resume(self, partition: TopicPartition) -> None:
        self._paused.discard(partition)
        self._arrived.set()

    @override
    async def beginnings(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    @override
    async def ends(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {place: len(self._broker.logs[place]) for place in partitions}

    @override
    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not offsets:
            raise ValueError("there is nothing to commit")  # as aiokafka does
        if self._group is not None:
            owned = {
                place: offset
                for place, offset in offsets.items()
                if self._group.owners.get(place) is self
            }
            self._group.offsets.update(owned)

    async def _rebalance(self) -> None:
        """Deal the partitions out again: everybody gives up what moves, then everybody takes."""
        group = self._group
        assert group is not None
        async with group.rebalancing:
            wanted = _dealt(group, self._broker)
            leaving: dict[MemoryConsumer, list[TopicPartition]] = defaultdict(list)
            coming: dict[MemoryConsumer, list[TopicPartition]] = defaultdict(list)
            for place in group.owners.keys() | wanted.keys():
                before, after = group.owners.get(place), wanted.get(place)
                if before is not after:
                    if before is not None:
                        leaving[before].append(place)
                    if after is not None:
                        coming[after].append(place)
            for member, places in leaving.items():
                await member.lose(places)
            group.owners = wanted
            for member, places in coming.items():
                await member.gain(sorted(places))

    async def lose(self, places: Sequence[TopicPartition]) -> None:
        if self._listener is not None and self in (self._group.topics if self._group else ()):
            await self._listener.revoked(places)
        for place in places:
            self._positions.pop(place, None)
            self._paused.discard(place)

    async def gain(self, places: Sequence[TopicPartition]) -> None:
        assert self._group is not None
        for place in places:
            self._positions[place] = self._group.offsets.get(place, 0)
        if self._listener is not None:
            await self._listener.assigned(places)
        self._arrived.set()


def _dealt(group: _Group, broker: MemoryBroker) -> dict[TopicPartition, MemoryConsumer]:
    owners: dict[TopicPartition, MemoryConsumer] = {}
    for topic in sorted({topic for topics in group.topics.values() for topic in topics}):
        members = [member for member, topics in group.topics.items() if topic in topics]
        for number, place in enumerate(broker.places(topic)):
            owners[place] = members[number % len(members)]
    return owners
