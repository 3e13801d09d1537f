"""One run of one contender: as many events as it takes, and events at a constant rate."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from zlib import crc32

from benchmarks.stream.contenders import Contender
from benchmarks.stream.figures import Latency, Throughput, percentile
from benchmarks.stream.processes import ContenderFailedError, Pinned
from benchmarks.stream.stage import PARTITIONS, Stage
from benchmarks.stream.workload import RawEvent, event_id, events

from millrace_bus.broker import Consumer, Producer, TopicPartition
from millrace_contracts.message import Outgoing

WARM_UP = 2_000
_READY_SECONDS = 180.0
_DONE_SECONDS = 300.0
_LOOK_SECONDS = 0.05
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
        parts: list[list[Outgoing]] = [[] for _ in range(PARTITIONS)]
        for event in batch:
            place = crc32(event.key) % PARTITIONS
            parts[place].append(Outgoing(self.source, event.key, event.value, []))
        await asyncio.gather(
            *(
                self._producer.send(self.source, number, part)
                for number, part in enumerate(parts)
                if part
            )
        )

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


@asynccontextmanager
async def _warm(stage: Stage, run: Run, pinned: Pinned) -> AsyncIterator[Course]:
    """A contender that has answered its first events."""
    course = Course(stage, run)
    await course.open()
    try:
        with pinned:
            await course.send(list(events(run.first, WARM_UP)))
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
        count = int(rate * seconds)
        batch = list(events(run.first + WARM_UP, count))
        sent: dict[bytes, float] = {}
        waits: list[float] = []
        before = pinned.cpu_seconds()
        reading = asyncio.ensure_future(_read(course.consumer, sent, waits, count))
        sending: set[asyncio.Task[None]] = set()
        began = time.perf_counter()
        for number, event in enumerate(batch):
            due = began + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            name = event_id(run.first + WARM_UP + number).encode()
            sent[name] = time.perf_counter()
            task = asyncio.ensure_future(course.send([event]))
            sending.add(task)
            task.add_done_callback(sending.discard)
        took = time.perf_counter() - began
        after = pinned.cpu_seconds()
        await asyncio.wait([reading], timeout=_DRAIN_SECONDS)
        reading.cancel()
        await asyncio.gather(*sending)
        if len(waits) < count:
            raise ContenderFailedError(f"{len(waits)} of {count} answers at {rate:.0f} events/s")
        settled = sorted(1e3 * wait for wait in waits[int(rate) :])  # after the first second
        return Latency(
            rate=count / took,
            events=len(settled),
            p50_ms=percentile(settled, 0.5),
            p99_ms=percentile(settled, 0.99),
            cpu_seconds=sum(after.values()) - sum(before.values()),
        )


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
