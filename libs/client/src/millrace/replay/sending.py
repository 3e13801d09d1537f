"""Puts recorded messages on their topics: acknowledged before the next leave, and again after a failure."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from millrace.replay.ordering import RawMessage
from millrace.replay.pace import Pace, Sent
from millrace_bus.broker import Broker, Producer
from millrace_bus.outputs import by_partition
from millrace_contracts.message import Outgoing
from millrace_kernel.errors import TransientError

_PAUSE_SECONDS = 0.02
_AGAIN_SECONDS = 0.5

Progress = Callable[[Sent], None]
Wait = Callable[[Sent], Awaitable[None]]


async def no_wait(sent: Sent) -> None:
    """Nothing holds history back but its pace."""


class Sender:
    """Sends in order. What was sent is acknowledged; a broker that is away for a while is waited for.

    After a failure the same messages go again before any newer: some may be there twice then, and count once, by their id.
    """

    def __init__(self, broker: Broker, *, patience_seconds: float = 120.0) -> None:
        self._broker = broker
        self._patience_seconds = patience_seconds
        self._producer: Producer | None = None

    async def send_all(
        self,
        messages: Sequence[RawMessage],
        pace: Pace,
        progress: Progress,
        wait: Wait = no_wait,
    ) -> None:
        """History stands still while `wait` does. Raises TransientError when the broker stays away for too long."""
        loop = asyncio.get_running_loop()
        sent, began = Sent(), loop.time()
        try:
            while sent.messages < len(messages):
                stood_still = loop.time()
                await wait(sent)
                began += loop.time() - stood_still  # that need not be caught up with
                due = pace.due(messages, sent, loop.time() - began)
                if not due:
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                await self._send(due)
                sent = sent.with_next(due)
                progress(sent)
                await asyncio.sleep(0 if pace == Pace() else _PAUSE_SECONDS)
        finally:
            await self._forget_producer()

    async def _send(self, messages: Sequence[RawMessage]) -> None:
        outgoing = [Outgoing(m.topic, m.key, m.value, list(m.headers)) for m in messages]
        deadline = asyncio.get_running_loop().time() + self._patience_seconds
        while True:
            try:
                return await self._attempt(outgoing)
            except TransientError:
                await self._forget_producer()
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _attempt(self, outgoing: Sequence[Outgoing]) -> None:
        if self._producer is None:
            producer = self._broker.producer()
            await producer.start()
            self._producer = producer
        placed = await by_partition(self._producer, outgoing)
        for place, part in placed.items():
            await self._producer.send(place.topic, place.partition, part)

    async def _forget_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(TransientError):
                await producer.stop()
