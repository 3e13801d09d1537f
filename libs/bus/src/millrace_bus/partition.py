"""One assigned partition of a stream: its position, its fence, its batches, its commits."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from millrace_bus.broker import TopicPartition
from millrace_bus.dead_letters import Brake, dead_letter
from millrace_bus.fence import REJECTED, REPLAY_FOR, has_seen, is_for, note
from millrace_bus.outputs import Outputs
from millrace_bus.store import PartitionStore, State
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Message, Outgoing, Record
from millrace_contracts.wire import WireTable
from millrace_kernel.errors import PermanentError
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import Tracing, finish, write_traceparent

logger = logging.getLogger(__name__)

AT_ONCE = 500


class Batch:
    """Some messages of one partition, in order, as a service's `process` sees them."""

    __slots__ = (
        "_index",
        "_offset",
        "_outputs",
        "_reader",
        "_step",
        "messages",
        "outgoing",
        "state",
    )

    def __init__(
        self, messages: Sequence[Message], step: "Step", outputs: Outputs, reader: str
    ) -> None:
        self.messages = messages
        self.state = step.state
        self.outgoing = step.outgoing
        self._step = step
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
            raise ValueError(
                f"outputs must follow the batch's order: {offset} came after {self._offset}"
            )
        self.outgoing.append(
            self._outputs.record(event, message, sequence(offset, self._index), self._index)
        )

    def reject(self, message: Message, error: PermanentError) -> None:
        """Put this message among the dead letters, with the reason; the stream goes on."""
        self._step.rejected[message.record.offset] = error
        self.outgoing.append(dead_letter(message, error, self._reader))


Process = Callable[[Batch], None]
Handler = Callable[[Message, State], Iterable[object]]


def each(handler: Handler) -> Process:
    """A process that handles one message at a time. A PermanentError rejects the message: raise it before any `put`."""

    def process(batch: Batch) -> None:
        state, emit = batch.state, batch.emit
        for message in batch.messages:
            try:
                events = tuple(
                    handler(message, state)
                )  # whole before any is sent; a tuple is itself
            except PermanentError as error:
                batch.reject(message, error)
                continue
            for event in events:
                emit(message, event)

    return process


@dataclass(frozen=True, slots=True)
class Reader:
    """What all partitions of one worker share."""

    name: str
    wire: WireTable
    process: Process
    tracing: Tracing
    metrics: BusMetrics
    brake: Brake


@dataclass(slots=True)
class Step:
    """The outcome of what was read of one partition at once, not yet real."""

    partition: "Partition"
    records: Sequence[Record]
    state: State
    position: int
    outgoing: list[Outgoing] = field(default_factory=list)
    fences: dict[bytes, bytes] = field(default_factory=dict)
    rejected: dict[int, PermanentError] = field(default_factory=dict)  # by offset
    spans: list[Any] = field(default_factory=list)
    handled: int = 0
    fenced: int = 0


class Partition:
    """One assigned partition: its store, its position, its way of making outputs."""

    def __init__(self, place: TopicPartition, store: PartitionStore, reader: Reader) -> None:
        self.place = place
        self.store = store
        self.position = store.position or 0
        self._gap_at: int | None = None
        self._reader = reader
        self._outputs = Outputs(
            f"millrace/{reader.name}/{place.topic}/{place.partition}", reader.wire, reader.tracing
        )

    def skips(self, records: Sequence[Record]) -> bool:
        """Whether records are missing before the first: read once more from the position before it is believed.

        A consumer may have fetched from the group's offsets before the seek to the store's took effect. A gap that is
        there the second time is real (compaction, a transaction's marker, retention).
        """
        missing = records[0].offset > self.position and self._gap_at != self.position
        self._gap_at = self.position if missing else None
        return missing

    def handle(self, records: Sequence[Record]) -> Step:
        """Everything that follows from these records. A part at a time: what is no longer needed leaves the cache."""
        position = max(self.position, records[-1].offset + 1)
        step = Step(self, records, self.store.state(), position)
        for start in range(0, len(records), AT_ONCE):
            messages = self._messages(records[start : start + AT_ONCE], step)
            if messages:
                step.handled += len(messages)
                self._reader.process(Batch(messages, step, self._outputs, self._reader.name))
        if self._reader.wire.is_counted:  # so that a replay of it is handled, once
            step.fences.update((note(offset), REJECTED) for offset in step.rejected)
        return step

    def _messages(self, records: Sequence[Record], step: Step) -> list[Message]:
        """What is new among the records, and for this service. What can't be read or counted becomes dead letters."""
        messages, reader, position = [], self._reader, self.position
        is_counted, decode, is_raw = (
            reader.wire.is_counted,
            reader.wire.decode,
            not reader.wire.is_counted,
        )
        for record in records:
            if record.offset < position:
                continue
            message = Message(record, is_raw)
            try:
                if is_counted and not self._counts(message, step):
                    continue
                if "traceparent" in message.headers:
                    self._begin_span(message, step)
                if decode(message):
                    messages.append(message)
            except PermanentError as error:
                if reader.wire.understands(message):
                    step.rejected[record.offset] = error
                    step.outgoing.append(dead_letter(message, error, reader.name))
        return messages

    def _counts(self, message: Message, step: Step) -> bool:
        """Whether a message is for this service, and new."""
        if REPLAY_FOR in message.headers and not is_for(message.headers, self._reader.name):
            return False
        if self._seen(message, step.fences):
            step.fenced += 1
            return False
        return True

    def _begin_span(self, message: Message, step: Step) -> None:
        if span := self._reader.tracing.process(message):
            message.traceparent = write_traceparent(span.get_span_context())
            step.spans.append(span)

    def _seen(self, message: Message, fences: dict[bytes, bytes]) -> bool:
        """The fence: drop what is not newer than the newest of its source."""
        return has_seen(message, self.store.fences, fences)

    def commit(self, step: Step) -> None:
        self.store.commit(step.position, step.fences, step.state)
        self.position = step.position
        metrics, topic = self._reader.metrics, self.place.topic
        metrics.consumed.labels(topic).inc(step.handled)
        if step.fenced:
            metrics.fenced.labels(topic).inc(step.fenced)
        for span in step.spans:
            finish(span)
        self._judge(step)

    def _judge(self, step: Step) -> None:
        brake, rejected = self._reader.brake, step.rejected
        if not rejected:
            brake.good()
            return
        self._reader.metrics.dead.labels(self.place.topic).inc(len(rejected))
        for record in step.records:
            if (error := rejected.get(record.offset)) is None:
                brake.good()
            else:
                logger.warning(
                    "message rejected",
                    extra={
                        "at": f"{record.topic}/{record.partition}/{record.offset}",
                        "reason": str(error),
                    },
                )
                brake.bad(record, error)

    def close(self) -> None:
        self.store.close()
