"""Looks at how far the reader of the raw topics is behind, now and then, so that no request has to."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from millrace_bus.broker import Broker, Consumer, TopicPartition
from millrace_bus.retry import Backoff
from millrace_ingestion.application.overload import Gate, Place, Reason
from millrace_kernel.errors import TransientError

logger = logging.getLogger(__name__)


class GateMetrics:
    """What HTTP refused, and what it is refused by."""

    def __init__(self, registry: CollectorRegistry) -> None:
        refused = Counter(
            "millrace_requests_refused",
            "Requests answered 429, nothing of them taken",
            ["reason"],
            registry=registry,
        )
        self.refused: Mapping[Reason, Counter] = {
            reason: refused.labels(reason.value) for reason in Reason
        }
        self.lag = Gauge(
            "millrace_raw_lag_messages",
            "Messages of a raw topic that this instance has still to handle",
            ["topic"],
            registry=registry,
        )
        self.held = Gauge(
            "millrace_requests_held_bytes",
            "Memory that requests hold until the broker has their rows",
            registry=registry,
        )


class Watch:
    """A component. `positions`: how far each partition that is read here has been handled."""

    def __init__(
        self,
        broker: Broker,
        gate: Gate,
        metrics: GateMetrics,
        positions: Callable[[], Mapping[TopicPartition, int]],
        *,
        every_seconds: float,
        chance: Callable[[], float],
        backoff: Backoff | None = None,
    ) -> None:
        self.ready = asyncio.Event()
        self._broker = broker
        self._gate = gate
        self._metrics = metrics
        self._positions = positions
        self._every_seconds = every_seconds
        self._chance = chance
        self._backoff = backoff or Backoff()
        self._read_last: tuple[TopicPartition, ...] = ()

    async def run(self) -> None:
        """Look until cancelled."""
        attempt = 0
        while True:
            began = time.monotonic()
            try:
                await self._session()
            except TransientError as error:
                self._gate.could_not_look()
                lasted = time.monotonic() - began
                attempt = 1 if lasted > self._backoff.longest_seconds else attempt + 1
                delay = self._backoff.delay(attempt, self._chance)
                logger.warning(
                    "cannot see how far raw topics go; trying again",
                    extra={"seconds": round(delay, 2), "reason": str(error)},
                )
                await asyncio.sleep(delay)

    async def _session(self) -> None:
        consumer = self._broker.consumer()
        try:
            await consumer.start()
            self.ready.set()
            while True:
                await self._look(consumer)
                await asyncio.sleep(self._every_seconds)
        finally:
            await consumer.stop()

    async def _look(self, consumer: Consumer) -> None:
        positions = self._positions()
        if positions:
            self._read_last = tuple(positions)
        ends = await consumer.ends(self._read_last)
        self._gate.looked(time.monotonic(), _places(positions), _places(ends))
        self._metrics.held.set(self._gate.held_bytes)
        self._metrics.lag.clear()
        for topic, lag in self._gate.lags.items():
            self._metrics.lag.labels(topic).set(lag)


def _places(offsets: Mapping[TopicPartition, int]) -> dict[Place, int]:
    return {(place.topic, place.partition): offset for place, offset in offsets.items()}
