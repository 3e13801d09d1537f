"""A broker in memory: the second implementation of the broker port, for tests that need no disk and no Java.

It keeps what Kafka keeps for us: order within a partition, offsets without gaps, groups whose partitions move with
`revoked`/`assigned` (see `groups`), reading from any offset. It passes the same suite as the real one (`broker_suite`).
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

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
from millrace_testkit.groups import Group, Member

Fault = Callable[[str, TopicPartition], None]
T = TypeVar("T")


class NotAssignedError(RuntimeError):
    """The caller does not have this partition: aiokafka's IllegalStateError."""


class Network(Protocol):
    """The way between a client and the broker: every request that waits goes through it."""

    async def deliver(self, errand: str, place: TopicPartition | None, act: Callable[[], T]) -> T:
        """Bring the request to the broker, which acts, and its answer back. Raises TransientError."""

    def pieces(self, messages: Sequence[Outgoing]) -> Iterable[Sequence[Outgoing]]:
        """The requests that one send is cut into: each leaves when the one before is acknowledged."""


class PromptNetwork(Network):
    """Nothing is lost and nothing is slow."""

    @override
    async def deliver(self, errand: str, place: TopicPartition | None, act: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        outcome = act()
        await asyncio.sleep(0)
        return outcome

    @override
    def pieces(self, messages: Sequence[Outgoing]) -> Iterable[Sequence[Outgoing]]:
        return (messages,)


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


class MemoryBroker(Broker):
    """`now` stamps records that carry no time. `fault(errand, place)` may raise TransientError before or after an append.

    Errands: "append" (nothing was written), "acknowledge" (all was written, the answer is lost). What else may go wrong
    on the way is the `network`'s to decide.
    """

    def __init__(
        self,
        *,
        now: Callable[[], Instant] = lambda: Instant(0),
        fault: Fault = no_fault,
        network: Network | None = None,
    ) -> None:
        self.now = now
        self.network: Network = network or PromptNetwork()
        self.fault = fault
        self.logs: dict[TopicPartition, list[MemoryRecord]] = {}
        self._counts: dict[str, int] = {}
        self.groups: dict[str, Group] = {}
        self._arrived: dict[asyncio.Event, None] = {}  # in the order of their coming

    @override
    def consumer(
        self, group: str | None = None, listener: RebalanceListener | None = None
    ) -> "MemoryConsumer":
        return MemoryConsumer(self, self._group(group) if group else None, listener)

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
        self._tell_readers()

    def append_record(self, place: TopicPartition, record: MemoryRecord) -> None:
        """The same record once more, as a writer sends it that did not hear the first acknowledgement."""
        log = self.logs[place]
        log.append(replace(record, offset=len(log)))
        self._tell_readers()

    def _tell_readers(self) -> None:
        for event in tuple(self._arrived):
            event.set()

    def _group(self, name: str) -> Group:
        return self.groups.setdefault(name, Group(self.places))

    def group_offsets(self, group: str) -> Mapping[TopicPartition, int]:
        """What the group has been told: lag tools see this."""
        return self._group(group).offsets

    def watch(self, event: asyncio.Event) -> None:
        self._arrived[event] = None

    def unwatch(self, event: asyncio.Event) -> None:
        self._arrived.pop(event, None)


class MemoryProducer(Producer):
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    @override
    async def start(self) -> None:
        await self._broker.network.deliver("start", None, lambda: None)

    @override
    async def stop(self) -> None:
        await self._broker.network.deliver("stop", None, lambda: None)

    @override
    async def partitions(self, topic: str) -> int:
        broker = self._broker
        return len(await broker.network.deliver("partitions", None, lambda: broker.places(topic)))

    @override
    async def send(self, topic: str, partition: int, messages: Sequence[Outgoing]) -> None:
        broker = self._broker
        place = broker.places(topic)[partition]
        broker.fault("append", place)
        for piece in broker.network.pieces(messages):

            def append(piece: Sequence[Outgoing] = piece) -> None:
                broker.append(place, piece)

            await broker.network.deliver("send", place, append)
        broker.fault("acknowledge", place)


class MemoryConsumer(Consumer):
    def __init__(
        self, broker: MemoryBroker, group: Group | None, listener: RebalanceListener | None
    ) -> None:
        self._broker = broker
        self._group = group
        self.member = Member(group, listener, self._take_over) if group else None
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._arrived = asyncio.Event()
        self._turn = 0

    @override
    async def start(self) -> None:
        await self._broker.network.deliver("start", None, lambda: None)
        self._broker.watch(self._arrived)

    @override
    async def stop(self) -> None:
        await self._broker.network.deliver("stop", None, lambda: None)
        self._broker.unwatch(self._arrived)
        if self.member is not None:
            await self.member.stop()

    @override
    async def subscribe(self, topics: Collection[str]) -> None:
        assert self.member is not None, (
            "subscribing needs a group; assign takes everything without one"
        )
        for topic in topics:
            self._broker.places(topic)  # a topic that is not there is an error at once
        self.member.subscribe(topics)

    def _take_over(self, places: Sequence[TopicPartition]) -> None:
        """Read from the group's offsets: the listener may not have sought its own before the first poll."""
        assert self._group is not None
        self._positions = {place: self._group.offsets.get(place, 0) for place in places}
        self._paused.clear()
        self._arrived.set()

    @override
    async def assign(self, topics: Collection[str]) -> list[TopicPartition]:
        places = [place for topic in sorted(topics) for place in self._broker.places(topic)]
        self._positions = dict.fromkeys(places, 0)
        return places

    @override
    async def poll(
        self, max_records: int, timeout: float
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        def take() -> Mapping[TopicPartition, Sequence[Record]]:
            settled = self.member is None or self.member.settled.is_set()
            return self._take(max_records) if settled else {}

        if not self._has_some():
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
        if self.member is not None:
            await self.member.settled.wait()
        return await self._broker.network.deliver("poll", None, take)

    def _has_some(self) -> bool:
        return any(
            position < len(self._broker.logs[place])
            for place, position in self._positions.items()
            if place not in self._paused
        )

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
        self._owned(partition)
        self._positions[partition] = offset
        self._arrived.set()

    @override
    def pause(self, partition: TopicPartition) -> None:
        self._owned(partition)
        self._paused.add(partition)

    @override
    def resume(self, partition: TopicPartition) -> None:
        self._paused.discard(partition)
        self._arrived.set()

    @override
    async def beginnings(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        return await self._broker.network.deliver(
            "beginnings", None, lambda: dict.fromkeys(partitions, 0)
        )

    @override
    async def ends(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        logs = self._broker.logs
        return await self._broker.network.deliver(
            "ends", None, lambda: {place: len(logs[place]) for place in partitions}
        )

    @override
    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not offsets:
            raise ValueError("there is nothing to commit")  # as aiokafka does
        if self.member is None:
            return
        await self.member.settled.wait()  # a commit may have to wait for a rebalance
        await self._broker.network.deliver("commit", None, lambda: self._committed(offsets))

    def _committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Kafka refuses a commit of one who lost the partition, and the bus goes on without it."""
        assert self._group is not None
        owners = self._group.owners
        self._group.offsets.update(
            {place: offset for place, offset in offsets.items() if owners.get(place) is self.member}
        )

    def _owned(self, partition: TopicPartition) -> None:
        if partition not in self._positions:
            raise NotAssignedError(f"{partition.topic}/{partition.partition} is not assigned here")
