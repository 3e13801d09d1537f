"""The Faust runtime's reader of events: a Faust application, started again after a passing failure."""

import asyncio
import logging
from collections.abc import Callable

from millrace_bus.broker import Broker, TopicSpec
from millrace_bus.dead_letters import Brake
from millrace_features.adapters.faust_runtime.lane import Reader
from millrace_features.adapters.faust_runtime.session import TABLE, Lasting, Session, WorkerSettings
from millrace_kernel.errors import TransientError
from millrace_telemetry.metrics import BusMetrics

logger = logging.getLogger(__name__)

MAX_ROW_BYTES = 15 << 20
# A late write of an instance that lost its partitions is merged away while both rows are in the changelog.
COMPACTION_LAG_MILLISECONDS = 24 * 60 * 60 * 1_000


class FaustWorker:
    """Runs the heart as an agent with a table, in this process and event loop. `run` until cancelled.

    After a passing failure the whole application is started again, from what its store and the changelog say.
    """

    def __init__(
        self,
        topic: str,
        *,
        reader: Reader,
        broker: Broker,
        settings: WorkerSettings,
        chance: Callable[[], float],
        metrics: BusMetrics,
    ) -> None:
        self.ready = asyncio.Event()
        brake = Brake(settings.max_dead_letters_in_a_row)
        self._lasting = Lasting(topic, reader, broker, settings, chance, metrics, brake, self.ready)

    async def run(self) -> None:
        """Work until cancelled. Raises what is neither Permanent nor Transient: the service must stop."""
        for name in ("faust", "mode"):  # tables of offsets at each rebalance; warnings stay
            logging.getLogger(name).setLevel(logging.WARNING)
        backoff, attempt = self._lasting.settings.backoff, 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._session()
            except TransientError as error:
                attempt = 1 if loop.time() - began > backoff.longest_seconds else attempt + 1
                delay = backoff.delay(attempt, self._lasting.chance)
                logger.warning(
                    "the Faust application failed; starting it again",
                    extra={"seconds": round(delay, 2), "reason": str(error)},
                )
                await asyncio.sleep(delay)

    async def _session(self) -> None:
        producer = self._lasting.broker.producer()
        await producer.start()
        try:
            partitions = await producer.partitions(self._lasting.topic)
            group = self._lasting.settings.faust.group
            changelog = TopicSpec(
                f"{group}-{TABLE}-changelog",
                partitions,
                {
                    "cleanup.policy": "compact",
                    "min.compaction.lag.ms": str(COMPACTION_LAG_MILLISECONDS),
                    "max.message.bytes": str(MAX_ROW_BYTES),
                },
            )
            await self._lasting.broker.create_topics([changelog])
            await Session(self._lasting, producer, partitions).run()
        finally:
            await producer.stop()
