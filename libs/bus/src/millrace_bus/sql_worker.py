"""The SQL form of the guarantee: positions, fences, state and the outbox change in one transaction; a relay publishes."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from millrace_bus.broker import Broker, Consumer, Producer, RebalanceListener, TopicPartition
from millrace_bus.dead_letters import Brake, dead_letter
from millrace_bus.fence import REJECTED, has_seen, is_for, note, sources_of
from millrace_bus.ledger import LOCAL, Ledger, PositionMovedError
from millrace_bus.outputs import Outputs
from millrace_bus.poison import REFUSED, PoisonError, first_line
from millrace_bus.relay import Relay
from millrace_bus.retry import Backoff
from millrace_bus.session import Sessions, undisturbed
from millrace_bus.sql import Database
from millrace_bus.unit import SqlHandler, Unit
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Cause, Message, Outgoing, Record
from millrace_contracts.wire import WireTable, refuse_untimely
from millrace_kernel.errors import PermanentError, TransientError
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import NO_TRACING, Tracing, finish, write_traceparent

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Local:
    """An input that comes from elsewhere than a topic: an HTTP request, a finished process, a timer's tick.

    `sequence` grows along one `source` and sorts as text (fixed width); an input that is not newer is dropped.
    """

    source: str
    sequence: str
    event: object
    cause: Cause


@dataclass(frozen=True, slots=True)
class SqlSettings:
    max_records: int = 1_000
    poll_seconds: float = 1.0
    max_dead_letters_in_a_row: int = 100
    max_outbox: int = 50_000
    group_commit_seconds: float = 1.0
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(slots=True)
class _Applied:
    position: int
    handled: int
    fenced: int
    owed: int
    spans: list[Any]


class SqlWorker(RebalanceListener):
    """Reads topics, hands each event to its handler, commits batch by batch. `run` until cancelled.

    `handlers`: by the class of the decoded event, made with `millrace_bus.unit.inject`.
    `foresee` (if any) sees a batch's events before the first is handled: for repositories that fetch at once what they
    would else be asked for one by one. `committed` (if any) is called in the event loop after every commit: for runners
    that wait for work.
    """

    def __init__(
        self,
        name: str,
        topics: Collection[str],
        *,
        wire: WireTable,
        handlers: Mapping[type, SqlHandler],
        database: Database,
        broker: Broker,
        chance: Callable[[], float],
        settings: SqlSettings | None = None,
        tracing: Tracing = NO_TRACING,
        metrics: BusMetrics | None = None,
        foresee: Callable[[Sequence[Any], Unit], None] | None = None,
        committed: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._topics = frozenset(topics)
        self._wire = wire
        self._handlers = handlers
        self._database = database
        self._settings = settings or SqlSettings()
        self._tracing = tracing
        self._metrics = metrics or BusMetrics()
        self._foresee = foresee
        self._committed = committed
        self._brake = Brake(self._settings.max_dead_letters_in_a_row)
        self._sessions = Sessions(f"millrace-{name}", broker, self, self._settings.backoff, chance)
        self._relay = Relay(
            database, broker, self._metrics, backoff=self._settings.backoff, chance=chance
        )
        self._positions: dict[TopicPartition, int] = {}
        self._gaps: dict[TopicPartition, int] = {}
        self._step = asyncio.Lock()
        self._told_group = 0.0
        self._failure: Exception | None = None  # of a rebalance: the session raises it

    async def run(self) -> None:
        """Work until cancelled. Raises what is neither Permanent nor Transient: the service must stop."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sessions.run(self._session), name=f"{self.name}-reader")
            tasks.create_task(self._relay.run(), name=f"{self.name}-relay")

    async def accept(self, local: Local) -> bool:
        """Handle one input from elsewhere, exactly once for its (source, sequence). False: it had been handled.

        Raises what the handler raises, with nothing committed: PermanentError is the caller's to answer for.
        """
        async with self._step:
            return await undisturbed(self._accept_and_tell(local))

    async def _accept_and_tell(self, local: Local) -> bool:
        try:
            owed = await asyncio.to_thread(self._accept, local)
        except TransientError:
            self._relay.wake()  # the commit may have succeeded, and only its answer been lost
            raise
        if owed is not None:
            self._after_commit(owed)
        return owed is not None

    def _accept(self, local: Local) -> int | None:
        with self._database.transaction() as connection:
            ledger, unit = Ledger(connection), Unit(connection)
            if not ledger.advance(LOCAL, local.source, local.sequence):
                return None
            unit.cause = local.cause
            outputs = Outputs(f"millrace/{self.name}/{local.source}", self._wire, self._tracing)
            outgoing = [
                outputs.record(event, local.cause, f"{local.sequence}.{index:05d}".encode(), index)
                for index, event in enumerate(self._handlers[type(local.event)](local.event, unit))
            ]
            unit.flush()
            ledger.put_out(outgoing)
        return len(outgoing)

    async def _session(self, consumer: Consumer, producer: Producer) -> None:  # noqa: ARG002  the relay has its own
        self._failure = None
        await consumer.subscribe(self._topics)
        while True:
            batches = await consumer.poll(self._settings.max_records, self._settings.poll_seconds)
            if self._failure is not None:
                raise self._failure
            for place, records in batches.items():
                await self._relay.room()
                async with self._step:
                    await self._advance(consumer, place, records)
            await self._tell_group(consumer)

    async def _advance(
        self, consumer: Consumer, place: TopicPartition, records: Sequence[Record]
    ) -> None:
        position = self._positions.get(place)
        records = [
            record for record in records if position is not None and record.offset >= position
        ]
        if position is None or not records:
            return  # moved to another member while it was being read, or read before the seek took effect
        if records[0].offset > position and self._gaps.get(place) != position:
            self._gaps[place] = (
                position  # believed only when it is there a second time: see _Partition.skips
            )
            consumer.seek(place, position)
            return
        began = time.perf_counter()
        try:
            applied, dead = await undisturbed(
                asyncio.to_thread(self._apply_around_poison, place, records)
            )
        except PositionMovedError as error:
            self._relay.wake()  # it may have been this process, whose commit got no answer
            self._sessions.put_off(place, await asyncio.to_thread(self._reread, place), error)
            return
        except TransientError as error:
            self._metrics.retries.labels(place.topic).inc()
            self._sessions.put_off(place, position, error)
            return
        self._positions[place] = applied.position
        self._sessions.succeeded(place)
        for span in applied.spans:
            finish(span)
        self._count(place, applied, len(dead), time.perf_counter() - began)
        self._after_commit(applied.owed)
        self._judge(records, dead)

    def _reread(self, place: TopicPartition) -> int:
        with self._database.reading() as connection:
            self._positions[place] = Ledger(connection).position(place) or 0
        return self._positions[place]

    def _apply_around_poison(
        self, place: TopicPartition, records: Sequence[Record]
    ) -> tuple[_Applied, dict[int, PermanentError]]:
        """Commit the batch; a message that can never be handled is left out of a second try and dead-lettered in it.

        When the database refuses a value in what was written together, each message is written alone, to find whose it is.
        """
        dead: dict[int, PermanentError] = {}
        alone = False
        while True:
            try:
                return self._apply(place, records, dead, alone), dead
            except PoisonError as poison:
                dead[poison.offset] = poison.reason
            except REFUSED:
                if alone:
                    raise
                alone = True

    def _apply(
        self,
        place: TopicPartition,
        records: Sequence[Record],
        dead: Mapping[int, PermanentError],
        alone: bool,
    ) -> _Applied:
        messages = [
            message for record in records if is_for((message := Message(record)).headers, self.name)
        ]
        outputs = Outputs(
            f"millrace/{self.name}/{place.topic}/{place.partition}", self._wire, self._tracing
        )
        outgoing: list[Outgoing] = []
        spans: list[Any] = []
        with self._database.transaction() as connection:
            ledger, unit = Ledger(connection), Unit(connection)
            expected = ledger.position(place)
            if expected is not None and expected != self._positions.get(place):
                raise PositionMovedError(
                    f"{place.topic}/{place.partition} is at {expected}: another process owns it now"
                )
            # first, because it locks: a second process with the same batch waits here, finds it done, and does nothing
            position = records[-1].offset + 1
            ledger.move(place, expected, position)
            fences, raised = (
                _bytes(ledger.fences(place, sources_of(messages))),
                dict[bytes, bytes](),
            )
            new = [message for message in messages if self._is_new(message, fences, raised, dead)]
            alive = [message for message in new if message.offset not in dead]
            self._read(alive, unit)
            for message in new:
                if message.offset in dead:
                    outgoing.append(dead_letter(message, dead[message.offset], self.name))
                    raised[note(message.offset)] = REJECTED
                elif type(message.event) in self._handlers:
                    unit = Unit(connection) if alone else unit
                    outgoing += self._handle(message, unit, outputs, spans, alone)
            unit.flush()
            ledger.put_out(outgoing)
            ledger.raise_fences(
                place, {source.decode(): newest.decode() for source, newest in raised.items()}
            )
        fenced = len(messages) - len(new)
        return _Applied(position, len(alive), fenced, len(outgoing), spans)

    def _is_new(
        self,
        message: Message,
        fences: Mapping[bytes, bytes],
        raised: dict[bytes, bytes],
        dead: Mapping[int, PermanentError],
    ) -> bool:
        """Whether it counts for this service. What can't be counted is poison, if it is for this service at all."""
        try:
            return not _seen(message, fences, raised)
        except PermanentError as error:
            if message.offset not in dead and self._wire.understands(message):
                raise PoisonError(message.offset, error) from error
            return message.offset in dead

    def _read(self, messages: Sequence[Message], unit: Unit) -> None:
        """Give each message its event, where it has one that is for this service."""
        for message in messages:
            if not message.is_tombstone:
                try:
                    if self._wire.decode(message):
                        refuse_untimely(message)
                except PermanentError as error:
                    raise PoisonError(message.offset, error) from error
        if self._foresee:
            self._foresee([message.event for message in messages if message.event], unit)

    def _handle(
        self, message: Message, unit: Unit, outputs: Outputs, spans: list[Any], alone: bool
    ) -> list[Outgoing]:
        try:
            if span := self._tracing.process(message):
                message.traceparent = write_traceparent(span.get_span_context())
                spans.append(span)
            cause = unit.cause = message.cause
            offset = message.offset
            outgoing = [
                outputs.record(event, cause, sequence(offset, index), index)
                for index, event in enumerate(
                    self._handlers[type(message.event)](message.event, unit)
                )
            ]
            if alone:
                unit.flush()
        except PermanentError as error:
            raise PoisonError(message.offset, error) from error
        except REFUSED as error:
            reason = PermanentError(f"the database refuses {message!r}: {first_line(error)}")
            raise PoisonError(message.offset, reason) from error
        return outgoing

    def _after_commit(self, owed: int) -> None:
        self._relay.notify(owed, self._settings.max_outbox)
        if self._committed is not None:
            self._committed()

    def _count(self, place: TopicPartition, applied: _Applied, dead: int, seconds: float) -> None:
        self._metrics.consumed.labels(place.topic).inc(applied.handled)
        self._metrics.batch.labels(place.topic).observe(seconds)
        if applied.fenced:
            self._metrics.fenced.labels(place.topic).inc(applied.fenced)
        if dead:
            self._metrics.dead.labels(place.topic).inc(dead)

    def _judge(self, records: Sequence[Record], dead: Mapping[int, PermanentError]) -> None:
        if not dead:
            self._brake.good()
            return
        for record in records:
            if (error := dead.get(record.offset)) is None:
                self._brake.good()
            else:
                at = f"{record.topic}/{record.partition}/{record.offset}"
                logger.warning("message rejected", extra={"at": at, "reason": str(error)})
                self._brake.bad(record, error)

    async def _tell_group(self, consumer: Consumer) -> None:
        now = time.monotonic()
        told = {place: position for place, position in self._positions.items() if position}
        if told and now - self._told_group > self._settings.group_commit_seconds:
            self._told_group = now
            await consumer.commit(told)

    @override
    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        async with self._step:
            for place in partitions:
                self._sessions.forget(place)
                self._positions.pop(place, None)

    @override
    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        consumer = self._sessions.consumer
        if consumer is None:
            return
        try:
            await self._take(consumer, partitions)
        except Exception as error:  # noqa: BLE001  the client would swallow it, and nobody would read them
            self._failure = error
            return
        self._relay.wake()
        self.ready.set()

    async def _take(self, consumer: Consumer, partitions: Collection[TopicPartition]) -> None:
        async with self._step:
            stored = await asyncio.to_thread(self._stored, list(partitions))
            beginnings = await consumer.beginnings(
                [place for place, position in stored.items() if position is None]
            )
            for place, position in stored.items():
                self._positions[place] = beginnings[place] if position is None else position
                consumer.seek(place, self._positions[place])

    def _stored(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int | None]:
        with self._database.reading() as connection:
            ledger = Ledger(connection)
            return {place: ledger.position(place) for place in partitions}


def _seen(message: Message, fences: Mapping[bytes, bytes], raised: dict[bytes, bytes]) -> bool:
    """The fence: drop what is not newer than the newest of its source; what does not count is let through."""
    return has_seen(message, fences, raised)


def _bytes(fences: Mapping[str, str]) -> dict[bytes, bytes]:
    return {source.encode(): sequence.encode() for source, sequence in fences.items()}
