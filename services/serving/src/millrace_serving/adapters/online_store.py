"""The newest vector of each entity, on this instance's disk: serving's own online store.

It follows all partitions of `millrace.features`, each instance by itself, from the positions that it has written down with
the vectors in one WriteBatch. It is a cache of the topic: lost, it is read again as far as the topic goes back.
"""

import asyncio
import logging
import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from typing_extensions import override

from millrace_bus.broker import Broker, Consumer, TopicPartition
from millrace_bus.fence import REPLAY_FOR
from millrace_bus.retry import Backoff
from millrace_bus.session import stop_if_cancelled, undisturbed
from millrace_bus.store import PartitionStore, State
from millrace_contracts.message import Message, Record
from millrace_contracts.wire import WireError, WireTable
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import EntityId, EventId, PipelineName
from millrace_kernel.time import MILLISECOND, Clock, Duration, Instant
from millrace_serving.application.completion import OnlineVectors
from millrace_serving.domain.events import FeaturesComputed

logger = logging.getLogger(__name__)

TOPIC = "millrace.features"
MAX_RECORDS = 500
POLL_SECONDS = 1.0
SWEEP_SECONDS = 3_600.0

_PAUSE_SECONDS = 0.005  # while history is read: the stream and the requests go first
_AT_ONCE = 1_000  # entries that a sweep takes away in one write
_NO_POSITION = 0  # of the store as a whole: each partition has its own


class _Entry(msgspec.Struct, array_like=True, frozen=True):
    """A vector, without the pipeline and the entity: they are its key. `written_ms`: when the topic got it."""

    event_time: int
    sequence: bytes
    written_ms: int
    pipeline_version: int
    event_id: str
    numbers: bytes  # float64
    categories: tuple[str, ...]

    @property
    def age(self) -> tuple[int, bytes]:
        """Orders the vectors of an entity, however often and in whatever order they come."""
        return self.event_time, self.sequence


class _Codec:
    decode = msgspec.msgpack.Decoder(_Entry).decode
    encode = msgspec.msgpack.Encoder().encode


class OnlineStore(OnlineVectors):
    """A component of the service. Reading is safe from any thread."""

    def __init__(
        self,
        folder: Path,
        broker: Broker,
        wire: WireTable,
        *,
        clock: Clock,
        keep: Duration,
        chance: Callable[[], float],
        backoff: Backoff | None = None,
    ) -> None:
        """`keep`: what was written to the topic longer ago is forgotten."""
        self.ready = asyncio.Event()
        self._folder = folder
        self._broker = broker
        self._wire = wire
        self._clock = clock
        self._keep_ms = keep // MILLISECOND
        self._chance = chance
        self._backoff = backoff or Backoff()
        self._store: PartitionStore | None = None
        self._using = threading.Lock()  # of the store: requests may be answered in threads
        self._is_current = False

    @property
    @override
    def is_current(self) -> bool:
        return self._is_current

    @override
    def newest(self, pipeline: PipelineName, entity: EntityId) -> FeaturesComputed | None:
        with self._using:
            entry = None if self._store is None else self._store.state().get(_key(pipeline, entity))
        if entry is None or self._is_over(entry):
            return None
        return FeaturesComputed(
            pipeline,
            entry.pipeline_version,
            EventId(entry.event_id),
            entity,
            Instant(entry.event_time),
            tuple(array("d", entry.numbers)),
            entry.categories,
        )

    async def run(self) -> None:
        """Until cancelled. It is ready at once: nobody waits until it has caught up."""
        self._store = PartitionStore(self._folder, _Codec())
        self.ready.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow())
                tasks.create_task(self._sweep())
        finally:
            with self._using:
                store, self._store = self._store, None
                store.close()

    async def _follow(self) -> None:
        attempt = 0
        while True:
            try:
                await self._session()
            except TransientError as error:
                stop_if_cancelled()
                attempt += 1
                delay = self._backoff.delay(attempt, self._chance)
                logger.warning(
                    "cannot follow the vectors; trying again",
                    extra={"seconds": round(delay, 2), "reason": str(error)},
                )
                await asyncio.sleep(delay)

    async def _session(self) -> None:
        consumer = self._broker.consumer()
        try:
            await consumer.start()
            places = await consumer.assign([TOPIC])
            ends = await consumer.ends(places)
            positions = await self._positions(consumer, places, ends)
            for place, position in positions.items():
                consumer.seek(place, position)
            while True:
                if all(positions[place] >= ends[place] for place in places):
                    self._is_current = True
                batches = await consumer.poll(MAX_RECORDS, POLL_SECONDS)
                positions |= self.take(batches)
                await asyncio.sleep(0 if self._is_current else _PAUSE_SECONDS)
        finally:
            await consumer.stop()

    async def _positions(
        self,
        consumer: Consumer,
        places: Sequence[TopicPartition],
        ends: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """Where to go on. What the topic has deleted meanwhile is gone; a topic made anew is read from its beginning."""
        beginnings = await consumer.beginnings(places)
        found = {}
        for place in places:
            position = self._position(place)
            fits = beginnings[place] <= position <= ends[place]
            found[place] = position if fits else beginnings[place]
        return found

    def _position(self, place: TopicPartition) -> int:
        assert self._store is not None
        return int(self._store.fences.get(_name(place), b"0"))

    def take(self, batches: Mapping[TopicPartition, Sequence[Record]]) -> dict[TopicPartition, int]:
        """Keep what is newer than what is there, and the positions with it, in one write. Returns the positions."""
        assert self._store is not None
        with self._using:
            state = self._store.state()
            for records in batches.values():
                for record in records:
                    self._put(record, state)
            positions = {place: records[-1].offset + 1 for place, records in batches.items()}
            if positions:
                # what the stream's store keeps as fences are positions here: one for each partition
                notes = {_name(place): b"%d" % position for place, position in positions.items()}
                self._store.commit(_NO_POSITION, notes, state)
        return positions

    def _put(self, record: Record, state: State) -> None:
        message = Message(record)
        if REPLAY_FOR in message.headers or message.is_tombstone:
            return
        try:
            if not self._wire.decode(message):
                return
        except WireError:
            logger.exception("a vector does not decode; skipped")
            return
        vector: FeaturesComputed = message.event
        entry = _Entry(
            vector.event_time,
            message.sequence or b"",
            record.timestamp,
            vector.pipeline_version,
            vector.event_id,
            array("d", vector.numbers).tobytes(),
            vector.categories,
        )
        if self._is_over(entry):
            return
        key = _key(vector.pipeline, vector.entity)
        before = state.get(key)
        if before is None or before.age <= entry.age:
            state.put(key, entry)

    def _is_over(self, entry: _Entry) -> bool:
        return self._clock.now() // MILLISECOND - entry.written_ms > self._keep_ms

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await undisturbed(asyncio.to_thread(self.sweep))

    def sweep(self) -> int:
        """Take away what is over; how many. Blocks: the service does it in a thread."""
        assert self._store is not None
        over = (key for key, entry in self._store.state().scan(b"") if self._is_over(entry))
        count = 0
        while chunk := list(islice(over, _AT_ONCE)):
            with self._using:
                state = self._store.state()
                for key in chunk:
                    entry = state.get(key)  # it may have become newer meanwhile
                    if entry is not None and self._is_over(entry):
                        state.delete(key)
                        count += 1
                self._store.commit(_NO_POSITION, {}, state)
        return count


def _key(pipeline: PipelineName, entity: EntityId) -> bytes:
    return f"{pipeline}/{entity}".encode()  # a pipeline's name has no slash


def _name(place: TopicPartition) -> bytes:
    return f"{place.topic}/{place.partition}".encode()
