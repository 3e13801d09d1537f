"""Sessions that break: how long the next one waits, and that a stop which comes meanwhile is not lost."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

import pytest
from typing_extensions import override

from millrace_bus.broker import Broker, Consumer, RebalanceListener, TopicPartition
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


class Attempts(Backoff):
    """Waits for nothing, and remembers for which failure in a row it was asked."""

    seen: ClassVar[list[int]] = []

    @override
    def delay(self, attempt: int, chance: Callable[[], float]) -> float:
        self.seen.append(attempt)
        return 0.0


async def test_a_session_that_got_something_done_does_not_make_the_next_wait_longer(monkeypatch):
    """Sends that failed now and then made each wait twice as long as the one before, though all went well in between."""
    monkeypatch.setattr(Attempts, "seen", [])
    sessions = Sessions("group", SlowBroker(), Deaf(), Attempts(), lambda: 0.5)
    gets_something_done = iter([False, False, True, True, False])
    over = asyncio.Event()

    async def session(consumer, producer):
        moves = next(gets_something_done, None)
        if moves is None:
            over.set()
            await asyncio.sleep(3600)
        if moves:
            sessions.succeeded(TopicPartition("topic", 0))
        raise TransientError("the broker is away")

    task = asyncio.ensure_future(sessions.run(session))
    await asyncio.wait_for(over.wait(), 10)
    task.cancel()
    await asyncio.wait([task])

    assert Attempts.seen == [1, 2, 1, 1, 2]
