"""Publishes what transactions left in the outbox, in order, and forgets it when the broker has it.

Woken by commits, never by a timer. Two relays on one database, or one that was killed between publishing and deleting,
publish a message twice with the same id and sequence, and readers drop the second.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from millrace_bus.broker import Broker, Producer
from millrace_bus.ledger import Ledger
from millrace_bus.outputs import by_partition
from millrace_bus.retry import Backoff
from millrace_bus.session import stop_if_cancelled, undisturbed
from millrace_bus.sql import Database
from millrace_contracts.message import Outgoing
from millrace_kernel.errors import TransientError
from millrace_telemetry.metrics import BusMetrics

logger = logging.getLogger(__name__)

AT_ONCE = 1_000


class Relay:
    def __init__(
        self,
        database: Database,
        broker: Broker,
        metrics: BusMetrics,
        *,
        backoff: Backoff,
        chance: Callable[[], float],
    ) -> None:
        self._database = database
        self._broker = broker
        self._metrics = metrics
        self._backoff = backoff
        self._chance = chance
        self._work = asyncio.Event()
        self._work.set()  # what a killed process left
        self._room = asyncio.Event()
        self._room.set()
        self._waiting = 0

    def notify(self, messages: int, most: int) -> None:
        """A transaction committed this many; beyond `most` waiting, `room` blocks."""
        if messages:
            self._waiting += messages
            self._metrics.outbox.set(self._waiting)
            self._work.set()
            if self._waiting > most:
                self._room.clear()

    def wake(self) -> None:
        """Look again: another process may have died and left messages."""
        self._work.set()

    async def room(self) -> None:
        """Wait until the broker has taken what was owed: a reader must not outrun it without bound."""
        await self._room.wait()

    async def run(self) -> None:
        attempt = 0
        while True:
            try:
                producer = self._broker.producer()
                await producer.start()
                try:
                    while True:
                        await self._work.wait()
                        self._work.clear()
                        await self._drain(producer)
                        attempt = 0
                finally:
                    await producer.stop()
            except TransientError as error:
                stop_if_cancelled()
                attempt += 1
                delay = self._backoff.delay(attempt, self._chance)
                logger.warning(
                    "cannot publish the outbox; trying again",
                    extra={"seconds": round(delay, 2), "reason": str(error)},
                )
                self._work.set()
                await asyncio.sleep(delay)

    async def _drain(self, producer: Producer) -> None:
        while owed := await undisturbed(asyncio.to_thread(self._owed)):
            # one step: a clean stop between the broker's word and ours would publish it all again
            await undisturbed(self._publish(producer, owed))
        if (
            not self._work.is_set()
        ):  # else more was committed since the last look: the next round counts it
            self._waiting = 0
            self._metrics.outbox.set(0)
            self._room.set()

    async def _publish(self, producer: Producer, owed: Sequence[tuple[int, Outgoing]]) -> None:
        placed = await by_partition(producer, (message for _, message in owed))
        outcomes = await asyncio.gather(
            *(producer.send(place.topic, place.partition, part) for place, part in placed.items()),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        await asyncio.to_thread(self._paid, [number for number, _ in owed])
        for place, part in placed.items():
            self._metrics.produced.labels(place.topic).inc(len(part))

    def _owed(self) -> list[tuple[int, Outgoing]]:
        with self._database.reading() as connection:
            return Ledger(connection).owed(AT_ONCE)

    def _paid(self, numbers: list[int]) -> None:
        with self._database.transaction() as connection:
            Ledger(connection).paid(numbers)
