"""The stream form of the guarantee: outputs acknowledged first, then state and positions in one local write.

A kill at any point makes the same outputs again, with the same ids and sequences, which readers drop; it never leaves
a state that has moved past an output that was not sent. See docs/guarantee.md.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from typing_extensions import override

from millrace_bus.broker import Broker, Consumer, Producer, RebalanceListener, TopicPartition
from millrace_bus.dead_letters import Brake
from millrace_bus.homes import Homes, Opened
from millrace_bus.keeper import Keeper
from millrace_bus.openings import Openings
from millrace_bus.outputs import by_partition
from millrace_bus.partition import Batch, Handler, Partition, Process, Reader, each
from millrace_bus.retry import Backoff
from millrace_bus.session import Sessions, undisturbed
from millrace_bus.snapshots import Snapshots
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
    snapshot_seconds: float = 60.0
    """How old the newest snapshot of a state that moves may get."""
    snapshot_records: int = 1_000
    """A state that has moved by less waits ten times as long."""
    replay_records: int = 50_000
    """A local state further behind its snapshot than this is replaced by it; nearer, it is caught up by reading."""
    accept_lost_records: bool = False
    """Go on when the topic has deleted what was not yet read; otherwise LostRecordsError stops the service."""


class StreamWorker(RebalanceListener):
    """Reads topics, keeps state per partition, writes what `process` emits. `run` until cancelled.

    With `snapshots`, states are copied to the object store as they move, and fetched from there where they are missing.
    """

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
        snapshots: Snapshots | None = None,
        tracing: Tracing = NO_TRACING,
        metrics: BusMetrics | None = None,
    ) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._topics = frozenset(topics)
        self._settings = settings
        self._metrics = metrics or BusMetrics()
        brake = Brake(settings.max_dead_letters_in_a_row)
        self._reader = Reader(name, wire, process, tracing, self._metrics, brake)
        self._sessions = Sessions(f"millrace-{name}", broker, self, settings.backoff, chance)
        self._stores: dict[TopicPartition, Partition] = {}
        self._step = asyncio.Lock()
        self._committed_to_group = 0.0
        self._homes = Homes(
            settings.state_directory,
            codec,
            snapshots,
            replay_records=settings.replay_records,
            accept_lost_records=settings.accept_lost_records,
        )
        self._openings = Openings(self._homes, self._step, settings.backoff, chance)
        self._keeper = Keeper(
            self._homes,
            self._open_stores,
            every_seconds=settings.snapshot_seconds,
            enough_records=settings.snapshot_records,
            metrics=self._metrics,
        )

    async def run(self) -> None:
        """Work until cancelled. Raises what is neither Permanent nor Transient: the service must stop."""
        self._homes.sweep()
        keeping = asyncio.ensure_future(self._keeper.run())
        try:
            await self._sessions.run(self._session)
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping
            await self._openings.ended()

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        """The next offset of each partition that is read here: for whoever wants to know how far behind it is."""
        return {place: partition.position for place, partition in self._stores.items()}

    async def subscribe(self, topics: Collection[str]) -> None:
        """Read these topics from now on; they exist."""
        self._topics = frozenset(topics)
        self._openings.forget_all()  # all partitions are dealt out anew
        if self._sessions.consumer is not None:
            await self._sessions.consumer.subscribe(self._topics)

    async def _session(self, consumer: Consumer, producer: Producer) -> None:
        try:
            if self._topics:
                await consumer.subscribe(self._topics)
            else:
                self.ready.set()  # there is nothing to wait for
            while True:
                self._openings.raise_failure()
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
                if records[0].offset > partition.position:
                    await self._believe_gap(consumer, partition)
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

    async def _believe_gap(self, consumer: Consumer, partition: Partition) -> None:
        """Nothing is missing where compaction or a transaction leaves a gap; it is where the topic's beginning has passed by."""
        place = partition.place
        beginning = (await consumer.beginnings([place]))[place]
        if beginning > partition.position:
            self._homes.lost(
                place, partition.position, beginning, "retention was faster than this reader"
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
        for place in partitions:
            self._openings.forget(place)
        async with self._step:
            for place in partitions:
                self._sessions.forget(place)
                if partition := self._stores.pop(place, None):
                    self._keeper.went(place)
                    partition.close()

    @override
    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        consumer = self._sessions.consumer
        if consumer is None:
            return
        topics = self._topics
        try:
            async with self._step:
                await self._take(consumer, [p for p in partitions if p not in self._stores])
            self.ready.set()
        except Exception as error:  # noqa: BLE001  the client would swallow it; the session raises it
            if self._topics is topics:  # else all is dealt out anew, for other topics
                self._openings.failure = error

    async def _take(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        """Open what is here at once; what may have to be fetched is opened beside the stream, and paused until then."""
        beginnings = await consumer.beginnings(places)
        if consumer is not self._sessions.consumer:
            return  # its session ended meanwhile, and has closed what there was
        for place in places:
            beginning = beginnings[place]
            if self._homes.snapshots is None:
                self._admit(consumer, place, beginning, self._homes.open(place, beginning))
            else:
                consumer.pause(place)
                admit = partial(self._admit, consumer, place, beginning)
                self._openings.begin(place, beginning, admit)

    def _admit(
        self, consumer: Consumer, place: TopicPartition, beginning: int, opened: Opened
    ) -> None:
        """Read a partition from where its state stands; one that has none begins at the topic's beginning."""
        partition = Partition(place, opened.store, self._reader)
        if opened.store.position is None:
            partition.position = beginning
        self._stores[place] = partition
        self._keeper.came(place, opened.snapshot)
        consumer.seek(place, partition.position)
        consumer.resume(place)

    def _open_stores(self) -> Mapping[TopicPartition, PartitionStore]:
        return {place: partition.store for place, partition in self._stores.items()}

    def _close_all(self) -> None:
        self._openings.forget_all()
        for place, partition in self._stores.items():
            self._keeper.went(place)
            partition.close()
        self._stores.clear()
