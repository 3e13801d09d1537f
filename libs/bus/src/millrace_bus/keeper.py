"""Takes snapshots of the partitions that are read here, one at a time, beside the stream."""

import asyncio
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace_bus.broker import TopicPartition
from millrace_bus.homes import CHECKPOINT, Homes
from millrace_bus.snapshots import Saved
from millrace_bus.store import PartitionStore
from millrace_telemetry.metrics import BusMetrics

logger = logging.getLogger(__name__)

_PATIENCE = 10  # how many intervals a state that hardly moves waits
_LONGEST_LOOK_SECONDS = 2.0


@dataclass(slots=True)
class _Last:
    position: int  # -1: none that we know of
    at: float  # on the monotonic clock: when it was taken, or when this partition came here


class Keeper:
    """Sees to it that a state which moves has a snapshot at most so many seconds old.

    A failure of the object store is counted and told, and tried again an interval later; it never stops the stream.
    """

    def __init__(
        self,
        homes: Homes,
        stores: Callable[[], Mapping[TopicPartition, PartitionStore]],
        *,
        every_seconds: float,
        enough_records: int,
        metrics: BusMetrics,
    ) -> None:
        """`stores`: what is read here at this moment. A state that moved by less than `enough_records` waits longer."""
        self._homes = homes
        self._stores = stores
        self._every_seconds = every_seconds
        self._look_seconds = min(_LONGEST_LOOK_SECONDS, every_seconds / 4)
        self._enough_records = enough_records
        self._metrics = metrics
        self._last: dict[TopicPartition, _Last] = {}

    def came(self, place: TopicPartition, snapshot: int | None) -> None:
        """A partition is read here from now on; its newest snapshot is known (or none is)."""
        if self._homes.snapshots is None:
            return
        position = -1 if snapshot is None else snapshot
        last = self._last.setdefault(place, _Last(position, time.monotonic()))
        last.position = max(last.position, position)  # and it keeps its turn through rebalances
        gauge = self._metrics.snapshot_age.labels(place.topic, str(place.partition))
        gauge.set_function(lambda: time.monotonic() - last.at)

    def went(self, place: TopicPartition) -> None:
        """It is another member's now, whose instance tells its age."""
        if place in self._last:
            self._metrics.snapshot_age.remove(place.topic, str(place.partition))

    async def run(self) -> None:
        """Work until cancelled; without a place for snapshots there is nothing to do."""
        if self._homes.snapshots is None:
            return
        while True:
            await asyncio.sleep(self._look_seconds)
            for place in self._due():
                await self._snapshot(place)

    def _due(self) -> list[TopicPartition]:
        """Longest waiting first."""
        now = time.monotonic()
        due = [
            (self._last[place].at, place)
            for place, store in self._stores().items()
            if self._is_due(self._last[place], store.position, now)
        ]
        return [place for _, place in sorted(due)]

    def _is_due(self, last: _Last, position: int | None, now: float) -> bool:
        if position is None or position <= last.position:
            return False
        waited = now - last.at
        enough = position - last.position >= self._enough_records
        return waited >= self._every_seconds * (1 if enough else _PATIENCE)

    async def _snapshot(self, place: TopicPartition) -> None:
        store = self._stores().get(place)
        if store is None:
            return  # it went while another was being saved
        last, topic = self._last[place], place.topic
        last.at = began = time.monotonic()
        try:
            store.flush_soon()
            await asyncio.sleep(self._look_seconds)
            saved = await self._in_thread(place, store)
        except Exception as error:  # noqa: BLE001  whatever it is: the stream goes on, and the age of the last tells
            self._metrics.snapshot_failures.labels(topic).inc()
            logger.warning(
                "no snapshot; trying again later",
                extra={"partition": f"{topic}/{place.partition}", "reason": str(error)},
            )
            return
        if saved is not None:
            last.position = saved.position
            self._metrics.snapshots.labels(topic).observe(time.monotonic() - began)
            self._metrics.snapshot_bytes.labels(topic).inc(saved.size)

    async def _in_thread(self, place: TopicPartition, store: PartitionStore) -> Saved | None:
        """Cancelled meanwhile, it waits until the thread has seen that it is to stop."""
        stop = threading.Event()
        work = asyncio.ensure_future(asyncio.to_thread(self._save, place, store, stop.is_set))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([work])
            if not work.cancelled():
                work.exception()  # seen: nobody needs it any more
            raise

    def _save(
        self, place: TopicPartition, store: PartitionStore, stopped: Callable[[], bool]
    ) -> Saved | None:
        snapshots, directory = self._homes.snapshots, self._homes.directory
        assert snapshots is not None
        folder = Path(tempfile.mkdtemp(prefix=CHECKPOINT, dir=directory))
        try:
            checkpoint = folder / "state"
            position = store.checkpoint(checkpoint)
            if position is None:
                return None
            return snapshots.save(place, position, checkpoint, stopped)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
