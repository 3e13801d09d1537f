"""Partitions on their way here: their state is opened, or fetched, beside the stream.

A rebalance waits for its callbacks without heartbeats, so nothing slow may happen in them: a partition is paused until
its state is here. What goes wrong is remembered for the session, because the client swallows what callbacks raise.
"""

import asyncio
import logging
import threading
from collections.abc import Callable

from millrace_bus.broker import TopicPartition
from millrace_bus.homes import Homes, Opened
from millrace_bus.retry import Backoff
from millrace_kernel.errors import TransientError

logger = logging.getLogger(__name__)

Admit = Callable[[Opened], None]


class Openings:
    """One task for each partition that is being opened."""

    def __init__(
        self, homes: Homes, step: asyncio.Lock, backoff: Backoff, chance: Callable[[], float]
    ) -> None:
        self.failure: BaseException | None = None
        self._homes = homes
        self._step = step
        self._backoff = backoff
        self._chance = chance
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}

    def raise_failure(self) -> None:
        """Once: the session that it ends is followed by another, unless the failure is not a passing one."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def begin(self, place: TopicPartition, beginning: int, admit: Admit) -> None:
        """Open it in a thread, again and again while the object store is away, and admit it between two steps."""
        earlier = self._tasks.get(place)
        task = asyncio.ensure_future(self._open(place, beginning, admit, earlier))
        task.add_done_callback(self._ended)
        self._tasks[place] = task

    def forget(self, place: TopicPartition) -> None:
        """It has gone to another member; does not wait for its thread."""
        if task := self._tasks.get(place):
            task.cancel()

    def forget_all(self) -> None:
        for place in list(self._tasks):
            self.forget(place)

    async def ended(self) -> None:
        """Return when nothing is under way any more."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def _open(
        self,
        place: TopicPartition,
        beginning: int,
        admit: Admit,
        earlier: "asyncio.Task[None] | None",
    ) -> None:
        if earlier is not None and not earlier.done():
            await asyncio.wait([earlier])  # its thread may still be writing into the same folder
        opened = await self._persistently(place, beginning)
        try:
            async with self._step:
                admit(opened)
        except BaseException:
            opened.store.close()
            raise

    async def _persistently(self, place: TopicPartition, beginning: int) -> Opened:
        attempt = 0
        while True:
            try:
                return await self._in_thread(place, beginning)
            except TransientError as error:
                attempt += 1
                seconds = self._backoff.delay(attempt, self._chance)
                logger.warning(
                    "a partition waits for its state",
                    extra={
                        "partition": f"{place.topic}/{place.partition}",
                        "seconds": round(seconds, 2),
                        "reason": str(error),
                    },
                )
            await asyncio.sleep(seconds)

    async def _in_thread(self, place: TopicPartition, beginning: int) -> Opened:
        """Cancelled meanwhile, it waits until the thread has seen that nobody wants its work."""
        stop = threading.Event()
        work = asyncio.ensure_future(
            asyncio.to_thread(self._homes.open, place, beginning, stop.is_set)
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([work])
            if not work.cancelled() and work.exception() is None:
                work.result().store.close()
            raise

    def _ended(self, task: "asyncio.Task[None]") -> None:
        for place, known in list(self._tasks.items()):
            if known is task:
                del self._tasks[place]
        if not task.cancelled() and (error := task.exception()):
            self.failure = self.failure or error
