"""A reader's sessions with the broker: opened, closed and opened again after a passing failure; partitions put off alone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from millrace_bus.broker import Broker, Consumer, Producer, RebalanceListener, TopicPartition
from millrace_bus.retry import Backoff
from millrace_kernel.errors import TransientError

logger = logging.getLogger(__name__)

Session = Callable[[Consumer, Producer], Awaitable[None]]
T = TypeVar("T")


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Run a step to its end even when the caller is cancelled meanwhile; the cancellation counts afterwards.

    A step that is cut in the middle would be repaired by replay, but a clean stop should leave nothing to repair.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            logger.info(
                "the last step before stopping failed and left nothing behind",
                extra={"reason": str(error)},
            )
        raise


def stop_if_cancelled() -> None:
    """Raise CancelledError when this task was told to stop and something on the way has swallowed it.

    The Kafka client waits for its own tasks when it is stopped, and takes our cancellation meanwhile for one of theirs.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@dataclass(slots=True)
class _Delay:
    attempts: int
    timer: asyncio.TimerHandle | None


class Sessions:
    """Runs a session again and again until it is cancelled or fails for good."""

    def __init__(
        self,
        group: str,
        broker: Broker,
        listener: RebalanceListener,
        backoff: Backoff,
        chance: Callable[[], float],
    ) -> None:
        self.consumer: Consumer | None = None
        self._group = group
        self._broker = broker
        self._listener = listener
        self._backoff = backoff
        self._chance = chance
        self._delays: dict[TopicPartition, _Delay] = {}
        self._has_moved = False  # the session that runs has finished something

    async def run(self, session: Session) -> None:
        attempt = 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._once(session)
            except TransientError as error:
                stop_if_cancelled()
                lasted = asyncio.get_running_loop().time() - began
                went_well = self._has_moved or lasted > self._backoff.longest_seconds
                attempt = 1 if went_well else attempt + 1
                delay = self._backoff.delay(attempt, self._chance)
                logger.warning(
                    "the broker failed; trying again",
                    extra={"group": self._group, "seconds": round(delay, 2), "reason": str(error)},
                )
                await asyncio.sleep(delay)

    async def _once(self, session: Session) -> None:
        self._has_moved = False
        producer = self._broker.producer()
        await producer.start()
        try:
            self.consumer = self._broker.consumer(self._group, self._listener)
            try:
                await self.consumer.start()
                await session(self.consumer, producer)
            finally:
                consumer, self.consumer = self.consumer, None
                self._forget_all()
                await consumer.stop()
        finally:
            await producer.stop()

    def put_off(self, place: TopicPartition, position: int, error: TransientError) -> None:
        """Read this partition again from `position` after a while; the others go on meanwhile."""
        consumer = self.consumer
        if consumer is None:
            return
        delay = self._delays.setdefault(place, _Delay(0, None))
        delay.attempts += 1
        seconds = self._backoff.delay(delay.attempts, self._chance)
        level = logging.INFO if delay.attempts < 5 else logging.WARNING
        logger.log(
            level,
            "put off",
            extra={
                "partition": f"{place.topic}/{place.partition}",
                "seconds": round(seconds, 2),
                "reason": str(error),
            },
        )
        consumer.pause(place)
        consumer.seek(place, position)
        delay.timer = asyncio.get_running_loop().call_later(seconds, consumer.resume, place)

    def succeeded(self, place: TopicPartition) -> None:
        """A step of it is done: what fails next is a failure of its own."""
        self._has_moved = True
        self.forget(place)

    def forget(self, place: TopicPartition) -> None:
        delay = self._delays.pop(place, None)
        if delay and delay.timer:
            delay.timer.cancel()

    def _forget_all(self) -> None:
        for place in list(self._delays):
            self.forget(place)
