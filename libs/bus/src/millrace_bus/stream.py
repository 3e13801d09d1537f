"""The stream form of the guarantee: outputs acknowledged first, then state and positions in one local write.

A kill at any point makes the same outputs again, with the same ids and sequences, which readers drop; it never leaves
a state that has moved past an output that was not sent. See docs/guarantee.md.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace_bus.broker import Broker, Consumer, Producer, RebalanceListener, TopicPartition
from millrace_bus.dead_letters import Brake, dead_letter
from millrace_bus.outputs import Outputs, by_partition
from millrace_bus.retry import Backoff
from millrace_bus.session import Sessions, undisturbed
from millrace_bus.store import Codec, PartitionStore, State
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Message, Outgoing, Record
from millrace_contracts.wire import WireTable
from millrace_kernel.errors import PermanentError, TransientError
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import NO_TRACING, Tracing, finish, write_traceparent

logger = logging.getLogger(__name__)


class Batch:
    """One batch of one partition, as a service's `process` sees it."""

    __slots__ = ("_index", "_offset", "_outputs", "_reader", "messages", "outgoing", "rejected", "state")

    def __init__(self, messages: Sequence[Message], state: State, outputs: Outputs, reader: str) -> None:
        self.messages = messages
        self.state = state
        self.outgoing: list[Outgoing] = []
        self.rejected: dict[int, PermanentError] = {}  # by offset
        self._outputs = outputs
        self._reader = reader
        self._offset = -1
        self._index = 0

    def emit(self, message: Message, event: object) -> None:
        """Send an event on account of this message. Messages must be emitted for in the order of the batch."""
        offset = message.record.offset
        if offset == self._offset:
            self._index += 1
        elif offset > self._offset:
            self._offset, self._index = offset, 0
        else:
            raise ValueError(f"outputs must follow the batch's order: {offset} came after {self._offset}")
        self.outgoing.append(self._outputs.record(event, message, sequence(offset, self._index), self._index))

    def reject(self, message: Message, error: PermanentError) -> None:
        """Put this message among the dead letters, with the reason; the stream goes on."""
        self.rejected[message.record.offset] = error
        self.outgoing.append(dead_letter(message, error, self._reader))


Process = Callable[[Batch], None]
Handler = Callable[[Message, State], Iterable[object]]


def each(handler: Handler) -> Process:
    """A process that handles one message at a time. A PermanentError rejects the message: raise it before any `put`."""

    def process(batch: Batch) -> None:
        for message in batch.messages:
            try:
                events = list(handler(message, batch.state))
            except PermanentError as error:
                batch.reject(message, error)
                continue
            for event in events:
                batch.emit(message, event)

    return process


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

    def __init__(  # noqa: PLR0913  everything a worker stands on, named
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
        self._wire = wire
        self._process = process
        self._codec = codec
        self._settings = settings
        self._tracing = tracing
        self._metrics = metrics or BusMetrics()
        self._brake = Brake(settings.max_dead_letters_in_a_row)
        self._sessions = Sessions(f"millrace-{name}", broker, self, settings.backoff, chance)
        self._stores: dict[TopicPartition, _Partition] = {}
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
                batches = await consumer.poll(self._settings.max_records, self._settings.poll_seconds)
                if batches:
                    await undisturbed(self._advance(consumer, producer, batches))
                    await self._tell_group(consumer)
        finally:
            self._close_all()

    async def _advance(
        self, consumer: Consumer, producer: Producer, batches: Mapping[TopicPartition, Sequence[Record]]
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
                self._metrics.batch.labels(step.partition.place.topic).observe(time.perf_counter() - began)

    async def _send(self, producer: Producer, messages: Sequence[Outgoing]) -> None:
        """All outputs, acknowledged. Destination partitions go side by side, each in order."""
        if not messages:
            return
        placed = await by_partition(producer, messages)
        outcomes = await asyncio.gather(
            *(producer.send(place.topic, place.partition, part) for place, part in placed.items()), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        for place, part in placed.items():
            self._metrics.produced.labels(place.topic).inc(len(part))

    async def _tell_group(self, consumer: Consumer) -> None:
        """Outside of a step: during a rebalance a commit may wait for it, and the rebalance waits for the step."""
        now = time.monotonic()
        told = {place: partition.position for place, partition in self._stores.items() if partition.position}
        if told and now - self._committed_to_group > self._settings.group_commit_seconds:
            self._committed_to_group = now
            await consumer.commit(told)

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        async with self._step:
            for place in partitions:
                self._sessions.forget(place)
                if store := self._stores.pop(place, None):
                    store.close()

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

    def _open(self, place: TopicPartition) -> "_Partition":
        folder = self._settings.state_directory / f"{place.topic}-{place.partition}"
        return _Partition(place, PartitionStore(folder, self._codec), self)

    def _close_all(self) -> None:
        for partition in self._stores.values():
            partition.close()
        self._stores.clear()


@dataclass(slots=True)
class _Step:
    """The outcome of one batch of one partition, not yet real."""

    partition: "_Partition"
    outgoing: list[Outgoing]
    state: State
    position: int
    fences: dict[bytes, bytes]
    handled: int
    fenced: int
    rejected: Mapping[int, PermanentError]
    records: Sequence[Record]
    spans: list[Any]


class _Partition:
    """One assigned partition: its store, its position, its way of making outputs."""

    def __init__(self, place: TopicPartition, store: PartitionStore, worker: StreamWorker) -> None:
        self.place = place
        self.store = store
        self.position = store.position or 0
        self._gap_at: int | None = None
        self._worker = worker
        self._outputs = Outputs(f"millrace/{worker.name}/{place.topic}/{place.partition}", worker._wire, worker._tracing)

    def skips(self, records: Sequence[Record]) -> bool:
        """Whether records are missing before the first: read once more from the position before it is believed.

        A consumer may have fetched from the group's offsets before the seek to the store's took effect. A gap that is
        there the second time is real (compaction, a transaction's marker, retention).
        """
        missing = records[0].offset > self.position and self._gap_at != self.position
        self._gap_at = self.position if missing else None
        return missing

    def handle(self, records: Sequence[Record]) -> _Step:
        worker = self._worker
        fences: dict[bytes, bytes] = {}
        messages, spans, fenced = [], [], 0
        rejected: list[tuple[Message, PermanentError]] = []
        wire, trace, is_counted = worker._wire, worker._tracing.process, worker._wire.is_counted
        position = self.position
        for record in records:
            if record.offset < position:
                continue
            message = Message(record, not is_counted)
            headers = message.headers
            if is_counted and (newest := headers.get("ce_sequence")) is not None:
                # the fence: drop what is not newer than the newest of its source; what does not count is let through
                source = headers.get("ce_source", b"")
                known = fences.get(source) or self.store.fences.get(source)
                if known is not None and newest <= known:
                    fenced += 1
                    continue
                fences[source] = newest
            if "traceparent" in headers and (span := trace(message)):
                message.traceparent = write_traceparent(span.get_span_context())
                spans.append(span)
            try:
                if wire.decode(message):
                    messages.append(message)
            except PermanentError as error:
                rejected.append((message, error))
        state = self.store.state()
        batch = Batch(messages, state, self._outputs, worker.name)
        for message, error in rejected:
            batch.reject(message, error)
        if messages:
            worker._process(batch)
        position = max(position, records[-1].offset + 1)
        return _Step(self, batch.outgoing, state, position, fences, len(messages), fenced, batch.rejected, records, spans)

    def commit(self, step: _Step) -> None:
        self.store.commit(step.position, step.fences, step.state)
        self.position = step.position
        metrics, topic = self._worker._metrics, self.place.topic
        metrics.consumed.labels(topic).inc(step.handled)
        if step.fenced:
            metrics.fenced.labels(topic).inc(step.fenced)
        for span in step.spans:
            finish(span)
        self._judge(step)

    def _judge(self, step: _Step) -> None:
        brake, rejected = self._worker._brake, step.rejected
        if not rejected:
            brake.good()
            return
        self._worker._metrics.dead.labels(self.place.topic).inc(len(rejected))
        for record in step.records:
            if (error := rejected.get(record.offset)) is None:
                brake.good()
            else:
                logger.warning("message rejected", extra={"at": f"{record.topic}/{record.partition}/{record.offset}", "reason": str(error)})
                brake.bad(record, error)

    def close(self) -> None:
        self.store.close()
