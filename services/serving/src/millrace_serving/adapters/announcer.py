"""What came of loading a champion when it was needed: told on the stream, though no message asked for it."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from millrace_bus.broker import Broker, Producer
from millrace_bus.outputs import Outputs, by_partition
from millrace_bus.retry import Backoff
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Cause
from millrace_contracts.wire import WireTable
from millrace_kernel.errors import TransientError
from millrace_kernel.time import Clock
from millrace_serving.domain.events import DeploymentFailed, ModelDeployed
from millrace_telemetry.tracing import NO_TRACING

logger = logging.getLogger(__name__)

_MOST_WAITING = 10_000


class Announcer:
    """Sends outcomes in order, each acknowledged before the next: a component of the service.

    Promotions that are carried out as they are heard are answered by their follower. What is told here comes later than
    newer answers of its, so it has a source of its own: this start of this instance, its sequence counting from 0. What
    waits when the service stops is lost: a champion is loaded anew after a start, and told anew.
    """

    def __init__(
        self,
        broker: Broker,
        wire: WireTable,
        clock: Clock,
        *,
        instance: str,
        chance: Callable[[], float],
        backoff: Backoff | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self._broker = broker
        self._clock = clock
        self._outputs = Outputs(
            f"millrace/serving/loads/{instance}/{clock.now()}", wire, NO_TRACING
        )
        self._chance = chance
        self._backoff = backoff or Backoff()
        self._waiting: deque[ModelDeployed | DeploymentFailed] = deque()
        self._work = asyncio.Event()
        self._sent = 0

    def tell(self, outcome: ModelDeployed | DeploymentFailed) -> None:
        """Take it over. With a broker away for very long the oldest are let go, the first of all never while it is sent."""
        if isinstance(outcome, DeploymentFailed):
            logger.error(
                "a champion could not be loaded",
                extra={"pipeline": outcome.champion.pipeline, "reason": outcome.reason},
            )
        if len(self._waiting) >= _MOST_WAITING:
            del self._waiting[1]
        self._waiting.append(outcome)
        self._work.set()

    async def run(self) -> None:
        """Send until cancelled."""
        attempt = 0
        while True:
            before = self._sent
            try:
                await self._session()
            except TransientError as error:
                attempt = 1 if self._sent > before else attempt + 1
                delay = self._backoff.delay(attempt, self._chance)
                logger.warning(
                    "cannot tell what was deployed; trying again",
                    extra={"seconds": round(delay, 2), "reason": str(error)},
                )
                await asyncio.sleep(delay)

    async def _session(self) -> None:
        producer = self._broker.producer()
        await producer.start()
        self.ready.set()
        try:
            while True:
                if self._waiting:
                    await self._send(producer, self._waiting[0])
                    self._waiting.popleft()
                    self._sent += 1
                else:
                    self._work.clear()
                    await self._work.wait()
        finally:
            await producer.stop()

    async def _send(self, producer: Producer, outcome: ModelDeployed | DeploymentFailed) -> None:
        cause = Cause(outcome.id, self._clock.now(), outcome.id)
        record = self._outputs.record(outcome, cause, sequence(self._sent, 0), 0)
        for place, part in (await by_partition(producer, [record])).items():
            await producer.send(place.topic, place.partition, part)
