"""One run of one contender: as many events as it takes, and events at a constant rate."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from zlib import crc32

from benchmarks.stream.contenders import MILLRACE, Contender
from benchmarks.stream.figures import Json, Latency, Throughput, percentile
from benchmarks.stream.hops import Trail, hops
from benchmarks.stream.processes import ContenderFailedError, Pinned
from benchmarks.stream.stage import PARTITIONS, Stage
from benchmarks.stream.workload import RawEvent, event_id, events

from millrace_bus.broker import Consumer, Producer, TopicPartition
from millrace_contracts.message import Outgoing

WARM_UP = 2_000
_READY_SECONDS = 180.0
_DONE_SECONDS = 300.0
_LOOK_SECONDS = 0.05
_SETTLE_SECONDS = 10.0
_DRAIN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Run:
    """`first` is the number of its first event: runs lie so far apart in event time that no window reaches across."""

    contender: Contender
    number: int
    first: int


class Course:
    """The topics of one run, with a producer and a consumer of the benchmark's own."""

    def __init__(self, stage: Stage, run: Run) -> None:
        self.source, self.target = run.contender.topics(run.number)
        self._stage, broker = stage, stage.broker()
        self._producer: Producer = broker.producer()
        self.consumer: Consumer = broker.consumer()
        self._began: Mapping[TopicPartition, int] = {}

    async def open(self) -> None:
        await self._stage.create([self.source, self.target])
        await self._producer.start()
        await self.consumer.start()
        self._began = await self.consumer.ends(await self.consumer.assign([self.target]))
        for place, offset in self._began.items():
            self.consumer.seek(place, offset)

    async def close(self) -> None:
        await self.consumer.stop()
        await self._producer.stop()

    async def send(self, batch: Sequence[RawEvent]) -> None:
        """Keyed by entity, as producers are told to; acknowledged when it returns."""
        parts: list[list[RawEvent]] = [[] for _ in range(PARTITIONS)]
        for event in batch:
            parts[partition_of(event)].append(event)
        await asyncio.gather(
            *(self.send_to(number, part) for number, part in enumerate(parts) if part)
        )

    async def send_to(self, partition: int, batch: Sequence[RawEvent]) -> None:
        part = [Outgoing(self.source, event.key, event.value, []) for event in batch]
        await self._producer.send(self.source, partition, part)

    async def answered(self) -> int:
        ends = await self.consumer.ends(list(self._began))
        return sum(ends[place] - began for place, began in self._began.items())

    async def wait_for(self, count: int, within: float, pinned: Pinned) -> None:
        deadline = time.monotonic() + within
        while (done := await self.answered()) < count:
            pinned.check()
            if time.monotonic() > deadline:
                raise ContenderFailedError(f"{done} of {count} answers within {within:.0f} s")
            await asyncio.sleep(_LOOK_SECONDS)


def partition_of(event: RawEvent) -> int:
    """By key, as librdkafka does it."""
    return crc32(event.key) % PARTITIONS


class Lane:
    """Sends to one partition what has come while the send before was under way, as a producer without linger does."""

    def __init__(self, course: Course, partition: int) -> None:
        self._course = course
        self._partition = partition
        self._waiting: list[RawEvent] = []
        self._come = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    def put(self, event: RawEvent) -> None:
        self._waiting.append(event)
        self._come.set()

    async def _run(self) -> None:
        while True:
            await self._come.wait()
            self._come.clear()
            batch, self._waiting = self._waiting, []
            await self._course.send_to(self._partition, batch)

    async def close(self) -> None:
        """Raises what a send has raised."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


@asynccontextmanager
async def _warm(stage: Stage, run: Run, pinned: Pinned) -> AsyncIterator[Course]:
    """A contender that has answered its first events, with all of its processes at work."""
    course = Course(stage, run)
    await course.open()
    try:
        with pinned:
            half = WARM_UP // 2
            await course.send(list(events(run.first, half)))
            await course.wait_for(half, _READY_SECONDS, pinned)
            if run.contender.shares_out and len(pinned) > 1:
                await asyncio.sleep(_SETTLE_SECONDS)
            await course.send(list(events(run.first + half, WARM_UP - half)))
            await course.wait_for(WARM_UP, _READY_SECONDS, pinned)
            yield course
    finally:
        await course.close()


async def throughput(stage: Stage, run: Run, pinned: Pinned, count: int) -> Throughput:
    """All events are there before the first is read: the contender's processes stand still meanwhile."""
    async with _warm(stage, run, pinned) as course:
        pinned.stand_still()
        await course.send(list(events(run.first + WARM_UP, count)))
        before, broker = pinned.cpu_seconds(), stage.broker_cpu_seconds()
        began = time.perf_counter()
        pinned.go_on()
        await course.wait_for(WARM_UP + count, _DONE_SECONDS, pinned)
        seconds = time.perf_counter() - began
        after = pinned.cpu_seconds()
        return Throughput(
            events=count,
            seconds=seconds,
            cpu_seconds={name: after[name] - before[name] for name in after},
            broker_cpu_seconds=stage.broker_cpu_seconds() - broker,
            answers=await _answers(course, run),
        )


async def _answers(course: Course, run: Run) -> dict[str, float]:
    """The answers to the first events, by id: whoever is compared must say the same."""
    wanted = {event_id(run.first + number) for number in range(WARM_UP)}
    found: dict[str, float] = {}
    deadline = time.monotonic() + _DRAIN_SECONDS
    while len(found) < WARM_UP:
        if time.monotonic() > deadline:
            raise ContenderFailedError(
                f"only {len(found)} of the first {WARM_UP} events are answered"
            )
        for records in (await course.consumer.poll(5_000, 1.0)).values():
            for record in records:
                name = (record.key or b"").rpartition(b"/")[2].decode()
                if name in wanted:
                    found[name] = run.contender.read(record.value or b"")
    return found


async def latency(stage: Stage, run: Run, pinned: Pinned, rate: float, seconds: float) -> Latency:
    """From an event's send to its answer in a reader's hands, one event at a time at a constant rate."""
    async with _warm(stage, run, pinned) as course:
        while await course.consumer.poll(10_000, 0.5):
            pass  # the warm-up's answers
        trail = await _trail(stage, run)
        count = int(rate * seconds)
        batch = list(events(run.first + WARM_UP, count))
        sent: dict[bytes, float] = {}
        waits: list[float] = []
        before = pinned.cpu_seconds()
        reading = asyncio.ensure_future(_read(course.consumer, sent, waits, count))
        lanes = [Lane(course, number) for number in range(PARTITIONS)]
        began = time.perf_counter()
        for number, event in enumerate(batch):
            due = began + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            name = event_id(run.first + WARM_UP + number).encode()
            sent[name] = time.perf_counter()
            lanes[partition_of(event)].put(event)
        took = time.perf_counter() - began
        after = pinned.cpu_seconds()
        await asyncio.wait([reading], timeout=_DRAIN_SECONDS)
        reading.cancel()
        for lane in lanes:
            await lane.close()
        if len(waits) < count:
            raise ContenderFailedError(f"{len(waits)} of {count} answers at {rate:.0f} events/s")
        settled = sorted(1e3 * wait for wait in waits[int(rate) :])  # after the first second
        found = await _followed(trail, int(rate))
        return Latency(
            rate=count / took,
            events=len(settled),
            p50_ms=percentile(settled, 0.5),
            p99_ms=percentile(settled, 0.99),
            # of all that were sent; these events' share of it
            cpu_seconds=(sum(after.values()) - sum(before.values())) * len(settled) / count,
            hops=found,
        )


async def _trail(stage: Stage, run: Run) -> Trail | None:
    """Of the topics in between, where there are any."""
    if run.contender.name != MILLRACE:
        return None
    trail = Trail(stage.broker(), run.contender.topics(run.number)[0])
    await trail.open()
    return trail


async def _followed(trail: Trail | None, skip: int) -> Json:
    if trail is None:
        return {}
    try:
        return hops(await trail.read(), skip)
    finally:
        await trail.close()


async def _read(
    consumer: Consumer, sent: Mapping[bytes, float], waits: list[float], count: int
) -> None:
    while len(waits) < count:
        batches = await consumer.poll(1_000, 1.0)
        now = time.perf_counter()
        for records in batches.values():
            for record in records:
                name = (record.key or b"").rpartition(b"/")[2]
                if name in sent:
                    waits.append(now - sent[name])
