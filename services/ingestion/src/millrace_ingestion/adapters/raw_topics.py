"""The users' topics, written to on behalf of HTTP: acknowledged by the broker or said not to be, in bounded time."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from millrace_bus.broker import Broker, Producer, TopicPartition
from millrace_bus.outputs import by_partition
from millrace_bus.retry import Backoff
from millrace_contracts.message import Outgoing
from millrace_ingestion.application.ports import ROW_BYTES, NotAcknowledgedError, RawRow
from millrace_kernel.errors import TransientError

logger = logging.getLogger(__name__)


class BrokerRawTopics:
    """`RawTopics` on the bus. A component: `run` keeps a producer, and makes a new one after a failure."""

    def __init__(
        self,
        broker: Broker,
        patience_seconds: float,
        chance: Callable[[], float],
        backoff: Backoff | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self._broker = broker
        self._patience_seconds = patience_seconds
        self._chance = chance
        self._backoff = backoff or Backoff()
        self._producer: Producer | None = None
        self._failed = asyncio.Event()
        self.late_bytes = 0
        """Memory that rows hold whose senders have been told that it takes too long."""

    async def run(self) -> None:
        """Work until cancelled."""
        attempt = 0
        while True:
            try:
                await self._session()
                attempt = 0
            except TransientError as error:
                attempt += 1
                delay = self._backoff.delay(attempt, self._chance)
                logger.warning(
                    "cannot write raw topics; trying again",
                    extra={"seconds": round(delay, 2), "reason": str(error)},
                )
                await asyncio.sleep(delay)

    async def append(self, topic: str, rows: Sequence[RawRow]) -> None:
        acknowledged: set[int] = set()
        appending = asyncio.ensure_future(self._append(topic, rows, acknowledged))
        try:
            await asyncio.wait({appending}, timeout=self._patience_seconds)
        finally:
            if not appending.done():
                self._goes_on_late(appending, sum(len(row.value) + ROW_BYTES for row in rows))
        if not appending.done():
            raise self._late(acknowledged)
        await appending

    async def _session(self) -> None:
        """Lend a producer until one that used it has seen it fail."""
        producer = self._broker.producer()
        await producer.start()
        self._failed.clear()
        self._producer = producer
        self.ready.set()
        try:
            await self._failed.wait()
        finally:
            self._producer = None
            self.ready.clear()
            await producer.stop()

    async def _append(self, topic: str, rows: Sequence[RawRow], acknowledged: set[int]) -> None:
        """Adds the index of each row that the broker has to `acknowledged`, as it is told so."""
        producer = await self._there()
        outgoing = [
            Outgoing(topic, row.key.encode(), row.value, list(row.headers.items())) for row in rows
        ]
        indexes = {id(message): index for index, message in enumerate(outgoing)}
        placed = await by_partition(
            producer, outgoing
        )  # a topic that is not there is no failure of the producer

        async def send(place: TopicPartition, part: Sequence[Outgoing]) -> None:
            await producer.send(place.topic, place.partition, part)
            acknowledged.update(indexes[id(message)] for message in part)

        sends = (send(place, part) for place, part in placed.items())
        for outcome in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                self._failed.set()
                if isinstance(outcome, TransientError):
                    raise NotAcknowledgedError(str(outcome), sorted(acknowledged)) from outcome
                raise outcome

    async def _there(self) -> Producer:
        try:
            async with asyncio.timeout(self._patience_seconds):
                while self._producer is None:
                    await self.ready.wait()
                return self._producer
        except TimeoutError:
            raise self._late() from None

    def _late(self, acknowledged: Iterable[int] = ()) -> NotAcknowledgedError:
        return NotAcknowledgedError(
            f"the broker has not acknowledged within {self._patience_seconds:g} s; send again",
            sorted(acknowledged),
        )

    def _goes_on_late(self, appending: asyncio.Future[None], size: int) -> None:
        """Whoever waited longer than their patience has been answered; the rows are still the producer's."""

        def ended(done: asyncio.Future[None]) -> None:
            self.late_bytes -= size
            if not done.cancelled():
                done.exception()

        self.late_bytes += size
        appending.add_done_callback(ended)
