"""Empties the staging tables into the lake when much has gathered; runs empty them for themselves."""

import asyncio
import logging
from collections.abc import Callable

from millrace_bus.retry import Backoff
from millrace_bus.session import undisturbed
from millrace_kernel.errors import TransientError
from millrace_training.adapters.settling import Settler
from millrace_training.adapters.staging import Tally

logger = logging.getLogger(__name__)

AFTER_ROWS = 20_000


class Keeper:
    """A component of the service: `run` until cancelled. Woken by commits, never by a timer."""

    def __init__(
        self,
        settler: Settler,
        tally: Tally,
        *,
        chance: Callable[[], float],
        after_rows: int = AFTER_ROWS,
        backoff: Backoff | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self._settler = settler
        self._tally = tally
        self._chance = chance
        self._after_rows = after_rows
        self._backoff = backoff or Backoff()
        self._work = asyncio.Event()
        self._work.set()  # what a killed process left

    def wake(self) -> None:
        """Something was committed."""
        if self._tally.rows >= self._after_rows:
            self._work.set()

    async def run(self) -> None:
        self.ready.set()
        attempt = 0
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await undisturbed(asyncio.to_thread(self._settle))
                attempt = 0
            except TransientError as error:
                attempt += 1
                seconds = self._backoff.delay(attempt, self._chance)
                logger.warning(
                    "the lake is away; trying again",
                    extra={"seconds": round(seconds, 2), "reason": str(error)},
                )
                await asyncio.sleep(seconds)
                self._work.set()

    def _settle(self) -> None:
        self._tally.rows = self._settler.waiting()
        if self._tally.rows >= self._after_rows:
            self._settler.settle_all()
            self._tally.rows = self._settler.waiting()
