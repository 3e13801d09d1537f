"""A loop for components of the service that work when they are woken."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from millrace_bus.retry import Backoff
from millrace_kernel.errors import TransientError

logger = logging.getLogger(__name__)


class OnCall:
    """Does its work when woken, never by a timer, and at first for what a killed process left. `run` until cancelled.

    Woken while it works, it works once more. Work that fails for now is done again after a while; any other error ends `run`.
    """

    def __init__(
        self,
        work: Callable[[], Awaitable[None]],
        put_off: str,
        *,
        chance: Callable[[], float],
        backoff: Backoff | None = None,
    ) -> None:
        """`put_off`: what the log says of work that failed for now."""
        self.ready = asyncio.Event()
        self._work = work
        self._put_off = put_off
        self._chance = chance
        self._backoff = backoff or Backoff()
        self._woken = asyncio.Event()
        self._woken.set()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        self.ready.set()
        failures = 0
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._work()
                failures = 0
            except TransientError as error:
                failures += 1
                seconds = self._backoff.delay(failures, self._chance)
                about = {"seconds": round(seconds, 2), "reason": str(error)}
                logger.warning(self._put_off, extra=about)
                await asyncio.sleep(seconds)
                self._woken.set()
