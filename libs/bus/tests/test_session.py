"""A stop that comes while a broken session is being put away is not lost."""

import asyncio
from contextlib import suppress

import pytest

from millrace_bus.broker import Broker, Consumer, RebalanceListener
from millrace_bus.retry import Backoff
from millrace_bus.session import Sessions
from millrace_kernel.errors import TransientError
from millrace_testkit.memory import MemoryBroker, MemoryConsumer


class SlowToStop(MemoryConsumer):
    """As aiokafka: it waits for its own tasks, and takes a cancellation meanwhile for one of theirs."""

    stopping = asyncio.Event()

    async def stop(self) -> None:
        await super().stop()
        self.stopping.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)


class SlowBroker(MemoryBroker):
    def consumer(
        self, group: str | None = None, listener: RebalanceListener | None = None
    ) -> Consumer:
        return SlowToStop(self, None, listener)


class Deaf(RebalanceListener):
    async def revoked(self, partitions):
        """Nothing is kept."""

    async def assigned(self, partitions):
        """Nothing is kept."""


async def test_a_cancellation_that_the_client_swallows_still_ends_the_sessions():
    SlowToStop.stopping = asyncio.Event()
    broker: Broker = SlowBroker()
    sessions = Sessions("group", broker, Deaf(), Backoff(0.001, 0.001), lambda: 0.5)
    begun = 0

    async def session(consumer, producer):
        nonlocal begun
        begun += 1
        if begun == 1:
            raise TransientError("the broker is away")
        await asyncio.sleep(3600)

    task = asyncio.ensure_future(sessions.run(session))
    await SlowToStop.stopping.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=10)

    assert done, "it went on with another session"
    with pytest.raises(asyncio.CancelledError):
        task.result()
    assert begun == 1
