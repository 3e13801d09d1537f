"""Ticks as inputs: a source of their own, the tick's time as sequence, so each is handled once by one of all instances.

For work that must happen though nothing arrives. What follows the data (schedules, cooldowns) runs on recorded time
instead: see docs/decisions/0004.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from millrace_bus.sql_worker import Local
from millrace_contracts.message import Cause
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import derived_id
from millrace_kernel.time import SECOND, Clock, Duration, Instant

logger = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]

RETRY_SECONDS = 1.0


class Accepts(Protocol):
    """A SQL worker, as a timer sees it."""

    async def accept(self, local: Local) -> bool: ...


class Timer:
    """Brings `event(tick)` to a worker at every whole multiple of `period` since the epoch. `run` until cancelled.

    Instances on one database agree on the ticks' times, and the worker's fence lets the first one through. A tick that
    nobody was there for is not made up for: the next one comes.
    """

    def __init__(
        self,
        name: str,
        period: Duration,
        *,
        worker: Accepts,
        event: Callable[[Instant], object],
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if period <= 0:
            raise ValueError(
                f"timer {name}: a period of {period} µs never passes; give a positive one"
            )
        self.ready = asyncio.Event()
        self._source = f"timers/{name}"
        self._period = period
        self._worker = worker
        self._event = event
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        self.ready.set()
        while True:
            now = self._clock.now()
            tick = Instant((now // self._period + 1) * self._period)
            await self._sleep((tick - now) / SECOND)
            if self._clock.now() >= tick:  # a sleep may end a little early
                await self._bring(tick)

    async def _bring(self, tick: Instant) -> None:
        """Until it is accepted: a database that is away for a moment costs no tick, and stops no service."""
        while True:
            try:
                await self._worker.accept(self._local(tick))
            except TransientError as error:
                logger.warning(
                    "a tick is put off", extra={"timer": self._source, "reason": str(error)}
                )
                await self._sleep(RETRY_SECONDS)
            else:
                return

    def _local(self, tick: Instant) -> Local:
        tick_id = derived_id(self._source, str(tick))
        return Local(self._source, f"{tick:019d}", self._event(tick), Cause(tick_id, tick, tick_id))
