"""The answers given over HTTP, on their way to the stream: taken over at once, sent behind, in order, in batches."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from enum import Enum, auto

from prometheus_client import Counter, Gauge
from typing_extensions import override

from millrace_bus.broker import Broker, Producer
from millrace_bus.outputs import by_partition
from millrace_bus.retry import Backoff
from millrace_contracts.message import Outgoing
from millrace_contracts.wire import WireTable
from millrace_kernel.errors import TransientError
from millrace_kernel.time import Instant
from millrace_serving.adapters.backlog import Backlog, Entry
from millrace_serving.adapters.entries import Recorder, TakenRows, made
from millrace_serving.adapters.row_log import RowForm
from millrace_serving.adapters.spill import Segment, Spill, SpillFullError
from millrace_serving.application.ports import Publisher, RowLog
from millrace_serving.domain.champions import Champion
from millrace_serving.domain.events import PredictionMade
from millrace_telemetry.metrics import BusMetrics

logger = logging.getLogger(__name__)

ROOM = 10_000
ROOM_BYTES = 32 << 20
MOST_REQUESTS = 1_000
BATCH = 1_000
DRAIN_SECONDS = (
    8  # below what a service gets to stop in; what is not written by then goes to the disk
)
_LAST_SEND_SECONDS = 2
_LOOK_AGAIN_SECONDS = 0.05
_TURNS = 4  # in which records are written out while one lingers
_TURN = 50  # records


class _State(Enum):
    TAKING = auto()
    DRAINING = auto()
    STOPPED = auto()


class _Expectation(AbstractContextManager[None]):
    """One for all requests: a generator for each would take longer than all else that is done about it."""

    def __init__(self, publisher: "BusPublisher") -> None:
        self._publisher = publisher

    @override
    def __enter__(self) -> None:
        self._publisher.expect(1)

    @override
    def __exit__(self, *error: object) -> None:
        self._publisher.expect(-1)


class BusPublisher(Publisher):
    """A buffer with room for so many predictions and bytes, and one sender: a component of the service.

    Who finds no room waits; while as much waits as there is room for, or too many requests are under way, new ones are
    refused before anything is read of them, so that a stream that is slow costs no more memory than that. With a `spill`,
    what the broker does not take within `spill_seconds` goes to the disk and makes room; so does what it has not taken
    when the service stops. While the broker is away and the disk takes no more either, nobody waits: all are refused.

    Its source is this start of this instance, and its sequence counts from 0: readers drop what a lost acknowledgement
    makes it send twice. A batch leaves only when the one before is acknowledged, `linger_seconds` after it could have left
    at the earliest, so that it is worth its request. When cancelled, it first sends all that it has taken over and all
    that is still expected.
    """

    def __init__(
        self,
        broker: Broker,
        wire: WireTable,
        *,
        instance: str,
        started: Instant,
        chance: Callable[[], float],
        room: int = ROOM,
        room_bytes: int = ROOM_BYTES,
        most_requests: int = MOST_REQUESTS,
        linger_seconds: float = 0.0,
        spill: Spill | None = None,
        spill_seconds: float = 1.0,
        backoff: Backoff | None = None,
        metrics: BusMetrics | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self._broker = broker
        source = f"millrace/serving/requests/{instance}/{started}"
        self._chance = chance
        self._room = room
        self._room_bytes = room_bytes
        self._most_requests = most_requests
        self._linger_seconds = linger_seconds
        self._can_spill = spill is not None
        self._spill_seconds = spill_seconds
        self._backoff = backoff or Backoff()
        self._metrics = metrics or BusMetrics()
        self._backlog = Backlog(Recorder(source, wire).record, spill, started)
        self._outside_bytes = 0  # of predictions that there was no room for yet
        self._work = asyncio.Event()  # something waits, or nothing will any more
        self._freed = asyncio.Event()
        self._pressed = asyncio.Event()  # half of the room is taken, or it is time to stop
        self._expected = 0
        self._is_away = False  # the broker, as far as we know
        self._is_spill_full = False
        self._has_lingered = False
        self._state = _State.TAKING
        self._expectation = _Expectation(self)
        self._spilled, self._refused = self._count(self._metrics)

    def _count(self, metrics: BusMetrics) -> tuple[Counter, Counter]:
        backlog, registry = self._backlog, metrics.registry
        for name, description, figure in (
            ("waiting", "Answers in memory that the broker has not acknowledged", lambda: len(backlog.waiting)),
            ("waiting_bytes", "About what they take in memory", lambda: backlog.bytes),
            ("on_disk", "Answers on disk that the broker has not acknowledged", lambda: backlog.on_disk),
        ):  # fmt: skip
            Gauge(f"millrace_serving_answers_{name}", description, registry=registry).set_function(
                figure
            )
        return (
            Counter("millrace_serving_answers_spilled", "Answers that went to the disk because the broker was away", registry=registry),
            Counter("millrace_serving_requests_refused", "Requests that were told to come again: answers could not be logged", registry=registry),
        )  # fmt: skip

    @override
    def expecting(self) -> AbstractContextManager[None]:
        if (
            self._outside_bytes > self._room_bytes
            or self._expected >= self._most_requests
            or (self._is_away and not self.has_room and self._is_disk_out)
        ):
            self._refused.inc()
            raise TransientError(
                "answers can't be written to the stream as fast as they are asked for; ask again in a moment"
            )
        return self._expectation

    @property
    def _is_disk_out(self) -> bool:
        return self._is_spill_full or not self._can_spill

    def expect(self, change: int) -> None:
        """So many requests more, or fewer, are under way."""
        self._expected += change
        if change < 0 and self._state is not _State.TAKING:
            self._work.set()

    @override
    async def publish(self, predictions: Sequence[PredictionMade]) -> None:
        entries = [made(prediction) for prediction in predictions]
        left = sum(entry.size for entry in entries)
        self._outside_bytes += left
        taken = 0
        try:
            while True:
                if self._state is _State.STOPPED:
                    raise TransientError("this instance of serving has stopped; ask another one")
                while taken < len(entries) and self._has_room_for(entries[taken].size):
                    size = entries[taken].size
                    self.take(entries[taken])
                    self._outside_bytes -= size
                    left -= size
                    taken += 1
                if taken == len(entries):
                    return
                self._freed.clear()
                await self._freed.wait()
        finally:
            self._outside_bytes -= left

    def row_log(self, champion: Champion) -> RowLog:
        """Where a champion's answers to single rows go."""
        return TakenRows(self, RowForm(champion))

    def take(self, entry: Entry) -> None:
        """There is room for it."""
        backlog = self._backlog
        backlog.add(entry)
        if not self._work.is_set():
            self._work.set()
        if len(backlog.waiting) > self._room // 2 or backlog.bytes > self._room_bytes // 2:
            self._pressed.set()

    @property
    def has_room(self) -> bool:
        """For a single row."""
        backlog = self._backlog
        return (
            len(backlog.waiting) < self._room
            and backlog.bytes < self._room_bytes
            and self._state is not _State.STOPPED
        )

    def _has_room_for(self, size: int) -> bool:
        """One alone may be larger than the room is."""
        backlog = self._backlog
        fits = backlog.bytes + size <= self._room_bytes
        return len(backlog.waiting) < self._room and (fits or not backlog.waiting)

    @property
    def is_idle(self) -> bool:
        """All that was taken over has been acknowledged."""
        return self._backlog.is_empty

    async def run(self) -> None:
        """Send until cancelled, then send the rest or bring it to the disk."""
        sender = asyncio.create_task(self._send_all())
        keeper = asyncio.create_task(self._keep())
        try:
            await asyncio.wait({sender, keeper}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._state = _State.DRAINING
            self._work.set()
            await asyncio.wait({sender}, timeout=DRAIN_SECONDS if self._can_spill else None)
            raise
        finally:
            self._state = _State.STOPPED
            self._pressed.set()
            await keeper
            await self._end(sender)
        sender.result()

    async def _end(self, sender: "asyncio.Task[None]") -> None:
        """What the sender has not sent goes to the disk, or is lost with a word."""
        while self._can_spill and self._backlog.waiting and await self._spill():
            pass
        self._freed.set()
        if self._backlog.waiting:
            logger.error(
                "stopped before all answers were written",
                extra={"lost": len(self._backlog.waiting)},
            )
        if not sender.done():
            sender.cancel()
            await asyncio.wait({sender}, timeout=_LAST_SEND_SECONDS)

    def _is_over(self) -> bool:
        if self._state is _State.TAKING or self._expected:
            return False
        return self._backlog.is_empty

    async def _send_all(self) -> None:
        attempt = 0
        while not self._is_over():
            before = self._backlog.sent
            try:
                await self._session()
            except TransientError as error:
                self._is_away = True
                attempt = 1 if self._backlog.sent > before else attempt + 1
                delay = self._backoff.delay(attempt, self._chance)
                logger.warning(
                    "cannot write answers; trying again",
                    extra={"seconds": round(delay, 2), "reason": str(error)},
                )
                await asyncio.sleep(delay)

    async def _session(self) -> None:
        """With one producer, until it fails: what it was given last may or may not have been written, and is sent again."""
        producer = self._broker.producer()
        await producer.start()
        self.ready.set()
        try:
            while not self._is_over():
                if self._backlog.segments:
                    await self._send_segment(producer, self._backlog.segments[0])
                elif self._is_worth_sending():
                    await self._send_oldest(producer)
                elif self._backlog.waiting:
                    await self._linger()
                else:
                    self._work.clear()
                    await self._work.wait()
        finally:
            await producer.stop()

    async def _send_segment(self, producer: Producer, segment: Segment) -> None:
        records = await self._backlog.read(segment)
        for start in range(0, len(records), BATCH):
            await self._send(producer, records[start : start + BATCH])
        await self._backlog.segment_sent()
        self._is_spill_full = False

    async def _linger(self) -> None:
        """Nothing is sent right after: in the meantime what waits may have gone to the disk, and then it goes first.

        Records are written out meanwhile, a few at a time: all at once, requests would wait for it.
        """
        for _ in range(_TURNS):
            await asyncio.sleep(self._linger_seconds / _TURNS)
            self._backlog.prepare(_TURN)
        self._has_lingered = True

    def _is_worth_sending(self) -> bool:
        """Whether what waits has waited for others long enough, or is enough."""
        waiting = len(self._backlog.waiting)
        hurries = waiting >= BATCH or self._state is not _State.TAKING or not self._linger_seconds
        return waiting > 0 and (hurries or self._has_lingered)

    async def _send_oldest(self, producer: Producer) -> None:
        self._has_lingered = False
        records, end = self._backlog.oldest(BATCH)
        await self._send(producer, records)
        self._backlog.acknowledged(end)
        self._freed.set()

    async def _send(self, producer: Producer, records: Sequence[Outgoing]) -> None:
        placed = await by_partition(producer, records)
        sends = [
            producer.send(place.topic, place.partition, part) for place, part in placed.items()
        ]
        for outcome in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        self._is_away = False
        for place, part in placed.items():
            self._metrics.produced.labels(place.topic).inc(len(part))

    async def _keep(self) -> None:
        """Bring to the disk what the broker does not take."""
        sent, taken = 0, 0  # a while ago
        while self._state is not _State.STOPPED:
            is_pressed = await self._is_pressed_for(self._spill_seconds)
            backlog = self._backlog
            if not self._can_spill:
                continue
            if not is_pressed:
                if backlog.waiting and backlog.sent == sent and backlog.first < taken:
                    self._is_away = True
                sent, taken = backlog.sent, backlog.taken
            if self._is_away or (is_pressed and backlog.segments):
                await self._spill()
            elif is_pressed:  # by every answer, as long as it is only that the broker is slow
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _is_pressed_for(self, seconds: float) -> bool:
        self._pressed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._pressed.wait()
                return True
        return False

    async def _spill(self) -> int:
        """How many answers went to the disk; 0 when there are none, or when it takes no more."""
        try:
            count = await self._backlog.spill()
        except SpillFullError as error:
            if not self._is_spill_full:
                logger.warning("cannot bring answers to the disk", extra={"reason": str(error)})
            self._is_spill_full = True
            return 0
        self._is_spill_full = False
        self._spilled.inc(count)
        self._freed.set()
        return count
