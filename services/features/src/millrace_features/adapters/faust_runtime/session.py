"""One Faust application, from its start to its end: outputs acknowledged first, then the table, then the offsets."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP, EventT, StreamT

from millrace_bus.broker import Broker, Producer, TopicPartition
from millrace_bus.dead_letters import Brake
from millrace_bus.outputs import by_partition
from millrace_bus.retry import Backoff
from millrace_bus.session import undisturbed
from millrace_contracts.message import Outgoing
from millrace_features.adapters.faust_runtime.application import FaustSettings, faust_application
from millrace_features.adapters.faust_runtime.arrivals import FaustArrival
from millrace_features.adapters.faust_runtime.lane import Lane, Reader, Step
from millrace_features.adapters.faust_runtime.table import STORE_OPTIONS, RowTable
from millrace_kernel.errors import TransientError
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import finish

logger = logging.getLogger(__name__)

TABLE = "rows"
_STOP_SECONDS = 15.0
_IDLE_SECONDS = 1.0
_SETTLE_SECONDS = (
    0.1  # between looks whether a rebalance is over, and between two seeks of a partition
)
_LINGER_SECONDS = (
    0.01  # Faust hands out one message at a time; a step costs the same for one as for hundreds
)


class FaustAwayError(TransientError):
    """Faust lost its broker, or could not do now what was asked of it: it is started again from its store."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    faust: FaustSettings
    max_records: int = 1_000  # of one partition in one step
    max_waiting: int = 20_000  # of all partitions, while some are put off
    max_dead_letters_in_a_row: int = 1_000
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(frozen=True, slots=True)
class Lasting:
    """What one session takes over from the one before."""

    topic: str
    reader: Reader
    broker: Broker
    settings: WorkerSettings
    chance: Callable[[], float]
    metrics: BusMetrics
    brake: Brake
    ready: asyncio.Event


class Session:
    """One Faust application, from its start to its end."""

    def __init__(self, lasting: Lasting, producer: Producer, partitions: int) -> None:
        self._lasting = lasting
        self._reader = lasting.reader
        self._settings = lasting.settings
        self._metrics = lasting.metrics
        self._producer = producer
        self._settings.faust.directory.mkdir(parents=True, exist_ok=True)
        self._app = faust_application(self._settings.faust, partitions)
        self._table = RowTable(
            self._app,
            name=TABLE,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
            options=dict(STORE_OPTIONS),
        )
        self._app.tables.add(self._table)
        self._arrived: asyncio.Queue[EventT[Any]] = asyncio.Queue(self._settings.max_records)
        self._lanes: dict[int, Lane] = {}
        self._is_placed = False
        self._step = asyncio.Lock()
        topic = self._app.topic(
            lasting.topic,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            allow_empty=True,
        )
        # above 1, Faust commits offsets of messages that are still in the works (its issue 606)
        self._app.agent(topic, name="events", concurrency=1)(self._receive)
        self._app.on_partitions_revoked.connect(self._on_revoked)

    async def run(self) -> None:
        """Until cancelled. Raises FaustAwayError when Faust gave up, and whatever the heart raises."""
        tasks = [
            asyncio.ensure_future(work) for work in (self._start(), self._watch(), self._work())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._stop()

    async def _start(self) -> None:
        try:
            await self._app.start()
        except Exception as error:
            raise _explained(error) from error

    async def _watch(self) -> None:
        """Notice when a part of Faust has failed: it stops itself then, and tells nobody."""
        await self._app.wait_for_stopped(asyncio.get_running_loop().create_future())
        reason = self._app.crash_reason
        raise FaustAwayError(f"Faust stopped by itself: {reason!r}") from reason

    async def _stop(self) -> None:
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._app.stop()
        except TimeoutError:
            logger.warning("Faust did not stop in time; left as it is")
        except Exception as error:  # noqa: BLE001  it is on its way out; what failed is told elsewhere
            logger.warning("Faust failed while it stopped", extra={"reason": repr(error)})
        self._table.close_databases()

    async def _receive(self, stream: StreamT[Any]) -> None:
        """The agent. It only hands on: Faust's own batches acknowledge what an exception kept from being handled."""
        async for event in stream.noack().events():  # type: ignore[attr-defined]  # missing in its interface
            await self._arrived.put(event)

    async def _on_revoked(self, *_: object, **__: object) -> None:
        """A rebalance waits for the step under way; what was read so far will be delivered again."""
        async with self._step:
            self._is_placed = False
            self._lanes.clear()

    async def _work(self) -> None:
        while True:
            if not self._is_placed and not await self._place():
                await asyncio.sleep(_SETTLE_SECONDS)
                continue
            for lane in await self._line_up():
                await self._send_back(lane)
            await undisturbed(self._advance())

    async def _place(self) -> bool:
        """After a rebalance, when the tables are whole: read each partition from where its table says."""
        if not self._is_settled():
            return False
        topic = self._lasting.topic
        mine = [place for place in self._app.consumer.assignment() if place.topic == topic]
        async with self._step:
            if not self._is_settled():
                return False
            self._lanes = {place.partition: await self._lane(place.partition) for place in mine}
            self._is_placed = True
        for lane in list(self._lanes.values()):
            await self._seek(lane)
        self._lasting.ready.set()
        return True

    def _is_settled(self) -> bool:
        return bool(self._app.tables.actives_ready) and not self._app.rebalancing

    async def _line_up(self) -> list[Lane]:
        """Wait for what comes or is due, and put it into the lanes; those for which records are missing before it."""
        try:
            async with asyncio.timeout(self._idle_seconds()):
                if self._waiting() < self._settings.max_waiting:
                    arrived = [await self._arrived.get()]
                else:
                    arrived = []
                    await asyncio.sleep(_IDLE_SECONDS)
        except TimeoutError:
            return []
        await asyncio.sleep(_LINGER_SECONDS)
        while not self._arrived.empty():
            arrived.append(self._arrived.get_nowait())
        behind: dict[int, Lane] = {}
        for event in arrived:
            message = event.message
            lane = self._lanes.get(message.partition)
            if lane is None or message.generation_id != self._app.consumer_generation_id:
                continue  # from before a rebalance: it will be delivered again
            if lane.admit(FaustArrival(event)):
                behind.pop(message.partition, None)
            else:
                behind[message.partition] = lane
        return list(behind.values())

    async def _send_back(self, lane: Lane) -> None:
        """Faust delivered from too far on. Read again from what is wanted, or from the next that there is."""
        now = time.monotonic()
        if now - lane.sought < _SETTLE_SECONDS:
            return  # on its way
        lane.sought = now
        existing = await self._next_existing(lane)
        if existing > lane.wanted:
            lane.skip_to(existing)
        await self._seek(lane)

    async def _seek(self, lane: Lane) -> None:
        """In the consumer's own thread: Faust's `seek` meets aiokafka's fetcher there, from this one.

        Faust drops what is older than the last it read, so that is set back too, before the first record can come. Should
        an old batch be on its way still, its last record comes again, is not taken, and has this done again.
        """
        consumer: Any = self._app.consumer
        place = TP(*lane.place)
        # private, but only the unsafe `seek` sets it
        consumer._read_offset[place] = lane.wanted or None  # noqa: SLF001
        try:
            await consumer.seek_wait({place: lane.wanted})
        except Exception as error:
            if self._lanes.get(lane.place.partition) is lane:
                raise _explained(error) from error

    async def _next_existing(self, lane: Lane) -> int:
        """The first offset from the wanted one on that the topic really has."""
        consumer = self._lasting.broker.consumer()
        place = lane.place
        try:
            await consumer.start()
            for other in await consumer.assign([place.topic]):
                if other != place:
                    consumer.pause(other)
            consumer.seek(place, lane.wanted)
            while not (records := (await consumer.poll(1, _IDLE_SECONDS)).get(place)):
                pass  # there is one: Faust has delivered what comes after it
            return records[0].offset
        finally:
            await consumer.stop()

    def _waiting(self) -> int:
        return sum(len(lane.waiting) for lane in self._lanes.values())

    def _idle_seconds(self) -> float:
        """How long nothing has to be done unless something comes."""
        due = [lane.due for lane in self._lanes.values() if lane.waiting]
        return max(0.0, min(due) - time.monotonic()) if due else _IDLE_SECONDS

    async def _lane(self, partition: int) -> Lane:
        place = TopicPartition(self._lasting.topic, partition)
        position = self._table.position(partition)
        if position is None:
            position = await self._beginning(place)
        return Lane(place, position, lambda key: self._table.load(partition, key), self._reader)

    async def _beginning(self, place: TopicPartition) -> int:
        """Asked of the broker by a consumer of our own: Faust's may wait for the rebalance that waits for us."""
        consumer = self._lasting.broker.consumer()
        try:
            await consumer.start()
            return (await consumer.beginnings([place]))[place]
        finally:
            await consumer.stop()

    async def _advance(self) -> None:
        """One step of each lane that has something to do. Rebalances wait for its end."""
        async with self._step:
            began = time.perf_counter()
            steps = []
            for lane in self._lanes.values():
                if not lane.waiting or lane.due > time.monotonic():
                    continue
                try:
                    steps.append(lane.handle(self._settings.max_records))
                except TransientError as error:
                    self._put_off(lane, error)
            await self._send([message for step in steps for message in step.outgoing])
            await _all(self._store(step) for step in steps)
            for step in steps:
                self._committed(step, time.perf_counter() - began)

    async def _store(self, step: Step) -> None:
        place = step.lane.place
        rows = step.encoded(self._reader.codec)
        try:
            await self._table.store(place.partition, rows, step.position)
        except Exception as error:
            raise _explained(error) from error
        step.lane.commit(step)

    async def _send(self, messages: Sequence[Outgoing]) -> None:
        """All outputs, acknowledged. A failure ends the session, so nothing newer can overtake what was lost."""
        placed = await by_partition(self._producer, messages)
        await _all(self._producer.send(to.topic, to.partition, part) for to, part in placed.items())
        for place, part in placed.items():
            self._metrics.produced.labels(place.topic).inc(len(part))

    def _put_off(self, lane: Lane, error: TransientError) -> None:
        """This partition's records wait in order; the others go on."""
        lane.attempts += 1
        seconds = self._settings.backoff.delay(lane.attempts, self._lasting.chance)
        lane.due = time.monotonic() + seconds
        self._metrics.retries.labels(lane.place.topic).inc()
        logger.log(
            logging.INFO if lane.attempts < 5 else logging.WARNING,
            "put off",
            extra={
                "partition": f"{lane.place.topic}/{lane.place.partition}",
                "seconds": round(seconds, 2),
                "reason": str(error),
            },
        )

    def _committed(self, step: Step, seconds: float) -> None:
        lane, metrics = step.lane, self._metrics
        lane.attempts, lane.due = 0, 0.0
        topic = lane.place.topic
        metrics.batch.labels(topic).observe(seconds)
        metrics.consumed.labels(topic).inc(step.handled)
        metrics.fenced.labels(topic).inc(step.fenced)
        metrics.dead.labels(topic).inc(len(step.rejected))
        for span in step.spans:
            finish(span)
        brake = self._lasting.brake
        for arrival in step.arrivals:
            record = arrival.record
            if (error := step.rejected.get(record.offset)) is None:
                brake.good()
                continue
            logger.warning(
                "message rejected",
                extra={
                    "at": f"{record.topic}/{record.partition}/{record.offset}",
                    "reason": str(error),
                },
            )
            brake.bad(record, error)


async def _all(works: Iterable[Awaitable[None]]) -> None:
    """Side by side, each to its end; then the first failure, if any."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _explained(error: BaseException) -> BaseException:
    """The broker's failures are passing ones; aiokafka's classes are known by name here, for only the bus imports it."""
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    if isinstance(error, TransientError) or not (
        isinstance(error, OSError | TimeoutError) or modules & {"aiokafka", "faust"}
    ):
        return error
    return FaustAwayError(f"Faust's client of the broker failed: {error!r}")
