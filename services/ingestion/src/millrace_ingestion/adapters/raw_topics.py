"""The users' topics, written to on behalf of HTTP: acknowledged by the broker or said not to be, in bounded time."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from millrace_bus.broker import Broker, Producer
from millrace_bus.outputs import by_partition
from millrace_bus.retry import Backoff
from millrace_contracts.message import Outgoing
from millrace_ingestion.application.ports import RawRow
from millrace_kernel.errors import TransientError

logger = logging.getLogger(__name__)


class NotAcknowledgedError(TransientError):
    """The broker has not acknowledged in time. The rows may be there or not: sent again, they count once."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how much may wait for the broker before senders are told to come again."""

    seconds: float = 5.0
    waiting_bytes: int = 64_000_000


class BrokerRawTopics:
    """`RawTopics` on the bus. A component: `run` keeps a producer, and makes a new one after a failure."""

    def __init__(
        self,
        broker: Broker,
        patience: Patience,
        chance: Callable[[], float],
        backoff: Backoff | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self._broker = broker
        self._patience = patience
        self._chance = chance
        self._backoff = backoff or Backoff()
        self._producer: Producer | None = None
        self._failed = asyncio.Event()
        self._waiting_bytes = 0

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
        size = sum(len(row.value) for row in rows)
        if self._waiting_bytes and self._waiting_bytes + size > self._patience.waiting_bytes:
            raise NotAcknowledgedError("too much waits for the broker already; send again later")
        self._waiting_bytes += size
        appending = asyncio.ensure_future(self._append(topic, rows))
        appending.add_done_callback(lambda done: self._ended(done, size))
        done, _ = await asyncio.wait({appending}, timeout=self._patience.seconds)
        if not done:
            raise self._late()
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

    async def _append(self, topic: str, rows: Iterable[RawRow]) -> None:
        producer = await self._there()
        outgoing = [
            Outgoing(topic, row.key.encode(), row.value, list(row.headers.items())) for row in rows
        ]
        placed = await by_partition(
            producer, outgoing
        )  # a topic that is not there is no failure of the producer
        sends = (
            producer.send(place.topic, place.partition, part) for place, part in placed.items()
        )
        for outcome in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                self._failed.set()
                raise outcome

    async def _there(self) -> Producer:
        try:
            async with asyncio.timeout(self._patience.seconds):
                while self._producer is None:
                    await self.ready.wait()
                return self._producer
        except TimeoutError:
            raise self._late() from None

    def _late(self) -> NotAcknowledgedError:
        return NotAcknowledgedError(
            f"the broker has not acknowledged within {self._patience.seconds:g} s; send again"
        )

    def _ended(self, appending: asyncio.Future[None], size: int) -> None:
        self._waiting_bytes -= size
        if not appending.cancelled():
            appending.exception()  # whoever waited longer than their patience has been answered already
