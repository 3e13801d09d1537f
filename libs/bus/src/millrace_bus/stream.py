"""The stream form of the guarantee: outputs acknowledged first, then state and positions in one local write.

A kill at any point makes the same outputs again, with the same ids and sequences, which readers drop; it never leaves
a state that has moved past an output that was not sent. See docs/guarantee.md.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from millrace_bus.broker import Broker, Consumer, Producer, RebalanceListener, TopicPartition
from millrace_bus.dead_letters import Brake
from millrace_bus.outputs import by_partition
from millrace_bus.partition import Batch, Handler, Partition, Process, Reader, each
from millrace_bus.retry import Backoff
from millrace_bus.session import Sessions, undisturbed
from millrace_bus.store import Bytes, Codec, PartitionStore, State
from millrace_contracts.message import Outgoing, Record
from millrace_contracts.wire import WireTable
from millrace_kernel.errors import TransientError
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import NO_TRACING, Tracing

__all__ = [
    "Batch",
    "Bytes",
    "Codec",
    "Handler",
    "Process",
    "State",
    "StreamSettings",
    "StreamWorker",
    "each",
]


@dataclass(frozen=True, slots=True)
class StreamSettings:
    state_directory: Path
    max_records: int = 2_000
    poll_seconds: float = 1.0
    max_dead_letters_in_a_row: int = 1_000
    group_commit_seconds: float = 1.0
    backoff: Backoff = field(default_factory=Backoff)


class StreamWorker(RebalanceListener):
    """Reads topics, keeps state per partition, writes what `process` emits. `run` until cancelled."""

    def __init__(
        self,
        name: str,
        topics: Collection[str],
        *,
        wire: WireTable,
        process: Process,
        codec: Codec,
        broker: Broker,
        settings: StreamSettings,
        chance: Callable[[], float],
        tracing: Tracing = NO_TRACING,
        metrics: BusMetrics | None = None,
    ) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._topics = frozenset(topics)
        self._codec = codec
        self._settings = settings
        self._metrics = metrics or BusMetrics()
        brake = Brake(settings.max_dead_letters_in_a_row)
        self._reader = Reader(name, wire, process, tracing, self._metrics, brake)
        self._sessions = Sessions(f"millrace-{name}", broker, self, settings.backoff, chance)
        self._stores: dict[TopicPartition, Partition] = {}
        self._step = asyncio.Lock()
        self._committed_to_group = 0.0

    async def run(self) -> None:
        """Work until cancelled. Raises what is neither Permanent nor Transient: the service must stop."""
        await self._sessions.run(self._session)

    async def subscribe(self, topics: Collection[str]) -> None:
        """Read these topics from now on; they exist."""
        self._topics = frozenset(topics)
        if self._sessions.consumer is not None:
            await self._sessions.consumer.subscribe(self._topics)

    async def _session(self, consumer: Consumer, producer: Producer) -> None:
        try:
            if self._topics:
                await consumer.subscribe(self._topics)
            self.ready.set()
            while True:
                if not self._topics:
                    await asyncio.sleep(self._settings.poll_seconds)
                    continue
                batches = await consumer.poll(
                    self._settings.max_records, self._settings.poll_seconds
                )
                if batches:
                    await undisturbed(self._advance(consumer, producer, batches))
                    await self._tell_group(consumer)
        finally:
            self._close_all()

    async def _advance(
        self,
        consumer: Consumer,
        producer: Producer,
        batches: Mapping[TopicPartition, Sequence[Record]],
    ) -> None:
        """One step: handle what came, have the outputs acknowledged, write the state. Rebalances wait for its end."""
        async with self._step:
            began = time.perf_counter()
            steps = []
            for place, records in batches.items():
                partition = self._stores.get(place)
                if partition is None:
                    continue  # moved to another member while it was being read
                if partition.skips(records):
                    consumer.seek(place, partition.position)
                    continue
                try:
                    steps.append(partition.handle(records))
                except TransientError as error:
                    self._metrics.retries.labels(place.topic).inc()
                    self._sessions.put_off(place, partition.position, error)
            await self._send(producer, [message for step in steps for message in step.outgoing])
            for step in steps:
                step.partition.commit(step)
                self._sessions.succeeded(step.partition.place)
                self._metrics.batch.labels(step.partition.place.topic).observe(
                    time.perf_counter() - began
                )

    async def _send(self, producer: Producer, messages: Sequence[Outgoing]) -> None:
        """All outputs, acknowledged. Destination partitions go side by side, each in order."""
        if not messages:
            return
        placed = await by_partition(producer, messages)
        outcomes = await asyncio.gather(
            *(producer.send(place.topic, place.partition, part) for place, part in placed.items()),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        for place, part in placed.items():
            self._metrics.produced.labels(place.topic).inc(len(part))

    async def _tell_group(self, consumer: Consumer) -> None:
        """Outside of a step: during a rebalance a commit may wait for it, and the rebalance waits for the step."""
        now = time.monotonic()
        told = {
            place: partition.position
            for place, partition in self._stores.items()
            if partition.position
        }
        if told and now - self._committed_to_group > self._settings.group_commit_seconds:
            self._committed_to_group = now
            await consumer.commit(told)

    @override
    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        async with self._step:
            for place in partitions:
                self._sessions.forget(place)
                if store := self._stores.pop(place, None):
                    store.close()

    @override
    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        consumer = self._sessions.consumer
        if consumer is None:
            return
        async with self._step:
            opened = [self._open(place) for place in partitions if place not in self._stores]
            fresh = [partition.place for partition in opened if partition.store.position is None]
            beginnings = await consumer.beginnings(fresh)
            for partition in opened:
                if partition.store.position is None:
                    partition.position = beginnings[partition.place]
                self._stores[partition.place] = partition
                consumer.seek(partition.place, partition.position)

    def _open(self, place: TopicPartition) -> "Partition":
        folder = self._settings.state_directory / f"{place.topic}-{place.partition}"
        return Partition(place, PartitionStore(folder, self._codec), self._reader)

    def _close_all(self) -> None:
        for partition in self._stores.values():
            partition.close()
        self._stores.clear()
