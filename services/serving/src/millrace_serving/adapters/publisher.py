"""The answers given over HTTP, on their way to the stream: taken over at once, sent behind, in order, in batches."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import Enum, auto
from itertools import islice

from typing_extensions import override

from millrace_bus.broker import Broker, Producer
from millrace_bus.outputs import Outputs, by_partition
from millrace_bus.retry import Backoff
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Cause, Outgoing
from millrace_contracts.wire import WireTable
from millrace_kernel.errors import TransientError
from millrace_kernel.time import Instant
from millrace_serving.application.ports import Publisher
from millrace_serving.domain.events import PredictionMade
from millrace_telemetry.metrics import BusMetrics
from millrace_telemetry.tracing import NO_TRACING

logger = logging.getLogger(__name__)

ROOM = 10_000
ROOM_BYTES = 32 << 20
MOST_REQUESTS = 1_000
BATCH = 1_000

_OBJECT_BYTES = 600  # a prediction, its vector and its answer, without what they hold
_NUMBER_BYTES = 32  # a float, and the reference to it
_TEXT_BYTES = 64  # a short string's head, and the reference to it


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
    refused before anything is read of them, so that a stream that is slow costs no more memory than that.

    Its source is this start of this instance, and its sequence counts from 0: readers drop what a lost acknowledgement
    makes it send twice. A batch leaves only when the one before is acknowledged. When cancelled, it first sends all that
    it has taken over and all that is still expected.
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
        backoff: Backoff | None = None,
        metrics: BusMetrics | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self._broker = broker
        self._outputs = Outputs(f"millrace/serving/requests/{instance}/{started}", wire, NO_TRACING)
        self._chance = chance
        self._room = room
        self._room_bytes = room_bytes
        self._most_requests = most_requests
        self._backoff = backoff or Backoff()
        self._metrics = metrics or BusMetrics()
        self._waiting: deque[PredictionMade] = deque()
        self._waiting_bytes = 0
        self._outside_bytes = 0  # of predictions that there was no room for yet
        self._work = asyncio.Event()  # something waits, or nothing will any more
        self._freed = asyncio.Event()
        self._sent = 0
        self._expected = 0
        self._state = _State.TAKING
        self._expectation = _Expectation(self)

    @override
    def expecting(self) -> AbstractContextManager[None]:
        if self._outside_bytes > self._room_bytes or self._expected >= self._most_requests:
            raise TransientError(
                "answers can't be written to the stream as fast as they are asked for; ask again in a moment"
            )
        return self._expectation

    def expect(self, change: int) -> None:
        """So many requests more, or fewer, are under way."""
        self._expected += change
        if change < 0:
            self._work.set()

    @override
    async def publish(self, predictions: Sequence[PredictionMade]) -> None:
        sizes = [_bytes_of(prediction) for prediction in predictions]
        left = sum(sizes)
        self._outside_bytes += left
        taken = 0
        try:
            while True:
                if self._state is _State.STOPPED:
                    raise TransientError("this instance of serving has stopped; ask another one")
                while taken < len(predictions) and self._has_room_for(sizes[taken]):
                    self._waiting.append(predictions[taken])
                    self._waiting_bytes += sizes[taken]
                    self._outside_bytes -= sizes[taken]
                    left -= sizes[taken]
                    taken += 1
                self._work.set()
                if taken == len(predictions):
                    return
                self._freed.clear()
                await self._freed.wait()
        finally:
            self._outside_bytes -= left

    def _has_room_for(self, size: int) -> bool:
        """One alone may be larger than the room is."""
        fits = self._waiting_bytes + size <= self._room_bytes
        return len(self._waiting) < self._room and (fits or not self._waiting)

    @property
    def is_idle(self) -> bool:
        """All that was taken over has been acknowledged."""
        return not self._waiting

    async def run(self) -> None:
        """Send until cancelled, then send the rest."""
        try:
            await self._send_all()
        except asyncio.CancelledError:
            self._state = _State.DRAINING
            await self._send_all()
            raise
        finally:
            self._state = _State.STOPPED
            self._freed.set()
            if self._waiting:
                logger.error(
                    "stopped before all answers were written", extra={"lost": len(self._waiting)}
                )

    def _is_over(self) -> bool:
        return self._state is _State.DRAINING and not self._waiting and not self._expected

    async def _send_all(self) -> None:
        attempt = 0
        while not self._is_over():
            before = self._sent
            try:
                await self._session()
            except TransientError as error:
                attempt = 1 if self._sent > before else attempt + 1
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
                if self._waiting:
                    await self._send(producer, list(islice(self._waiting, BATCH)))
                else:
                    self._work.clear()
                    await self._work.wait()
        finally:
            await producer.stop()

    async def _send(self, producer: Producer, predictions: Sequence[PredictionMade]) -> None:
        records = [
            self._record(prediction, self._sent + index)
            for index, prediction in enumerate(predictions)
        ]
        placed = await by_partition(producer, records)
        sends = [
            producer.send(place.topic, place.partition, part) for place, part in placed.items()
        ]
        for outcome in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        for _ in predictions:
            self._waiting_bytes -= _bytes_of(self._waiting.popleft())
        self._sent += len(predictions)
        self._freed.set()
        for place, part in placed.items():
            self._metrics.produced.labels(place.topic).inc(len(part))

    def _record(self, prediction: PredictionMade, number: int) -> Outgoing:
        """A request is its own cause. Its sequence is its number since this start."""
        vector = prediction.vector
        cause = Cause(vector.event_id, vector.event_time, vector.event_id)
        return self._outputs.record(prediction, cause, sequence(number, 0), 0)


def _bytes_of(prediction: PredictionMade) -> int:
    """About what a prediction takes in memory."""
    vector = prediction.vector
    texts = sum(map(len, vector.categories)) + _TEXT_BYTES * len(vector.categories)
    numbers = len(vector.numbers) + len(prediction.answer.probabilities)
    return _OBJECT_BYTES + _NUMBER_BYTES * numbers + texts
