"""Empties the staging tables into the lake when much has gathered; runs empty them for themselves."""

import asyncio
from collections.abc import Callable

from millrace_bus.retry import Backoff
from millrace_bus.session import undisturbed
from millrace_training.adapters.lake.settling import Settler
from millrace_training.adapters.on_call import OnCall
from millrace_training.adapters.sql.staging import Tally

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
        self._on_call = OnCall(
            self._work, "the lake is away; trying again", chance=chance, backoff=backoff
        )
        self.ready = self._on_call.ready
        self._settler = settler
        self._tally = tally
        self._after_rows = after_rows

    def wake(self) -> None:
        """Something was committed."""
        if self._tally.rows >= self._after_rows:
            self._on_call.wake()

    async def run(self) -> None:
        await self._on_call.run()

    async def _work(self) -> None:
        await undisturbed(asyncio.to_thread(self._settle))

    def _settle(self) -> None:
        self._tally.rows = self._settler.waiting()
        if self._tally.rows >= self._after_rows:
            self._settler.settle_all()
            self._tally.rows = self._settler.waiting()
