"""Makes a process slow without changing it: it is stopped most of the time."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def slowed(pid: int, *, stopped: float = 0.45, running: float = 0.05) -> AsyncIterator[None]:
    """For the length of the block the process runs `running` of every `stopped + running` seconds: as a rule a tenth.

    Never stopped for so long that it loses its partitions.
    """
    slowing = asyncio.ensure_future(_duty(pid, stopped, running))
    try:
        yield
        if slowing.done():
            slowing.result()
    finally:
        slowing.cancel()
        with suppress(asyncio.CancelledError, ProcessLookupError):
            await slowing
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def _duty(pid: int, stopped: float, running: float) -> None:
    while True:
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(stopped)
        os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(running)
