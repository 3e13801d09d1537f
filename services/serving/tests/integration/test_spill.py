"""Answers while the broker is away: on disk, in order, and on the stream when it is back, whoever has been killed meanwhile."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import generate_latest

from millrace_bus.retry import Backoff
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Message, Outgoing
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import ModelVersionNumber
from millrace_proto.v1.predictions_pb2 import PredictionMade as Proto
from millrace_serving.adapters.publisher import BusPublisher
from millrace_serving.adapters.spill import Spill, SpillFullError
from millrace_serving.adapters.wire import WIRE
from millrace_serving.domain.answers import Answer
from millrace_serving.domain.events import PredictionMade, Role
from millrace_telemetry.metrics import BusMetrics
from millrace_testkit.eventually import eventually
from millrace_testkit.memory import MemoryBroker

TOPIC = "millrace.predictions"
ROOMY = 1 << 20


@pytest.fixture
def predictions(make_vector) -> Callable[..., list[PredictionMade]]:
    def make(ids: Sequence[object]) -> list[PredictionMade]:
        made = PredictionMade(make_vector(), ModelVersionNumber(1), 1, Role.REQUEST, Answer(1.0))
        return [made._replace(vector=make_vector(str(one))) for one in ids]

    return make


class Bed:
    """A broker that can be away, and publishers that share one folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "answers"
        self.broker = MemoryBroker()
        self.broker.fault = self._fault
        self.away = False
        self.starts = 0

    def _fault(self, errand: str, place: object) -> None:
        if self.away and errand == "append":
            raise TransientError("away")

    def publisher(self, limit: int = ROOMY, **more: object) -> BusPublisher:
        self.starts += 1
        return BusPublisher(
            self.broker,
            WIRE,
            instance="serving-0",
            started=self.starts,
            chance=lambda: 0.5,
            backoff=Backoff(0.001, 0.01),
            spill=Spill(self.folder, limit),
            **{"spill_seconds": 0.01, **more},
        )

    @asynccontextmanager
    async def started(self, **more: object):
        """A publisher that is not waited for in the end: the block stops it, or kills it."""
        await ensure_topics(self.broker)
        publisher = self.publisher(**more)
        run = asyncio.create_task(publisher.run())
        await publisher.ready.wait()
        try:
            yield publisher, run
        finally:
            run.cancel()
            await asyncio.wait([run])

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("*"))

    def effective(self) -> list[str]:
        """The events that a reader counts, who drops by each partition and source what is not newer."""
        newest: dict[tuple[str, int], bytes] = defaultdict(bytes)
        seen = []
        for record in self.broker.records(TOPIC):
            message = Message(record)
            place = (message.source, record.partition)
            if newest[place] < message.sequence:
                newest[place] = message.sequence
                seen.append(Proto.FromString(message.value).event_id)
        return seen


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


async def kill(run: asyncio.Task, publisher: BusPublisher) -> None:
    """As `kill -9`: nothing is sent and nothing is written any more."""
    publisher._backlog.waiting.clear()
    publisher._backlog._spill = None
    publisher._can_spill = False
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.wait([run])


async def test_what_the_broker_does_not_take_goes_to_the_disk_and_then_to_the_stream_in_order(
    bed, predictions
):
    async with bed.started() as (publisher, _):
        await publisher.publish(predictions(range(10)))
        await eventually(lambda: len(bed.effective()) == 10)
        bed.away = True
        for start in range(10, 40, 10):
            await publisher.publish(predictions(range(start, start + 10)))
            await eventually(lambda: not publisher._backlog.waiting, what="all on disk")
        assert bed.segments()
        assert publisher._backlog.on_disk == 30
        bed.away = False
        await publisher.publish(predictions(range(40, 50)))
        await eventually(lambda: publisher.is_idle)

    assert sorted(map(int, bed.effective())) == list(range(50))
    assert not bed.segments()


async def test_what_is_on_disk_outlives_a_kill_and_is_sent_under_its_own_source(bed, predictions):
    async with bed.started() as (publisher, run):
        bed.away = True
        await publisher.publish(predictions(range(20)))
        await eventually(lambda: not publisher._backlog.waiting)
        await publisher.publish(predictions(["in memory only"]))
        await kill(run, publisher)
    assert bed.segments()

    bed.away = False
    async with bed.started() as (publisher, _):
        await publisher.publish(predictions(range(20, 30)))
        await eventually(lambda: publisher.is_idle)

    assert sorted(map(int, bed.effective())) == list(range(30))
    sources = {Message(record).source for record in bed.broker.records(TOPIC)}
    assert sources == {f"millrace/serving/requests/serving-0/{start}" for start in (1, 2)}
    assert not bed.segments()


async def test_what_was_acknowledged_unheard_is_sent_again_and_counts_once(bed, predictions):
    lost = iter([True, True, True])

    def lose(errand: str, place: object) -> None:
        if bed.away and errand == "append" and not next(lost, False):
            raise TransientError("away")
        if bed.away and errand == "acknowledge":
            raise TransientError("lost")

    bed.broker.fault = lose
    async with bed.started() as (publisher, _):
        bed.away = True
        await publisher.publish(predictions(range(20)))
        await eventually(lambda: not publisher._backlog.waiting)
        bed.away = False
        await eventually(lambda: publisher.is_idle)

    assert len(bed.broker.records(TOPIC)) > 20
    assert sorted(map(int, bed.effective())) == list(range(20))


async def test_stopped_while_the_broker_is_away_it_leaves_everything_on_the_disk(
    bed, predictions, monkeypatch
):
    monkeypatch.setattr("millrace_serving.adapters.publisher.DRAIN_SECONDS", 0.05)
    async with bed.started(spill_seconds=60.0) as (publisher, run):
        bed.away = True
        await publisher.publish(predictions(range(20)))
        run.cancel()
        await asyncio.wait([run])
        with pytest.raises(TransientError, match="stopped"):
            await publisher.publish(predictions(["late"]))
    bed.away = False
    async with bed.started() as (publisher, _):
        await eventually(lambda: publisher.is_idle)

    assert sorted(map(int, bed.effective())) == list(range(20))


async def test_the_disk_makes_room_and_nobody_waits_long_or_is_refused(bed, predictions):
    async with bed.started(room=10) as (publisher, _):
        bed.away = True
        async with asyncio.timeout(30):
            await publisher.publish(predictions(range(100)))
        with publisher.expecting():
            pass
        bed.away = False
        await eventually(lambda: publisher.is_idle)

    assert sorted(map(int, bed.effective())) == list(range(100))


async def test_when_memory_and_disk_are_full_requests_are_refused_until_the_broker_is_back(
    bed, predictions
):
    metrics = BusMetrics()
    async with bed.started(limit=100, room=10, metrics=metrics) as (publisher, _):
        bed.away = True
        publishing = asyncio.create_task(publisher.publish(predictions(range(20))))
        await eventually(lambda: publisher._is_spill_full and len(publisher._backlog.waiting) == 10)
        with pytest.raises(TransientError, match="in a moment"):
            publisher.expecting()
        told = generate_latest(metrics.registry).decode()
        assert not publisher.has_room
        bed.away = False
        await publishing
        await eventually(lambda: publisher.is_idle)
        with publisher.expecting():
            pass

    assert "millrace_serving_answers_waiting 10.0" in told
    assert "millrace_serving_answers_on_disk 0.0" in told
    assert "millrace_serving_requests_refused_total 1.0" in told
    assert sorted(map(int, bed.effective())) == list(range(20))


async def test_how_much_is_on_disk_is_told(bed, predictions):
    metrics = BusMetrics()
    async with bed.started(metrics=metrics) as (publisher, _):
        bed.away = True
        await publisher.publish(predictions(range(7)))
        await eventually(lambda: not publisher._backlog.waiting)
        told = generate_latest(metrics.registry).decode()
        bed.away = False
        await eventually(lambda: publisher.is_idle)

    assert "millrace_serving_answers_on_disk 7.0" in told
    assert "millrace_serving_answers_spilled_total 7.0" in told


async def test_a_broker_that_neither_takes_nor_refuses_is_away_too(bed, predictions):
    """A send hangs: the disk takes over before it has failed."""
    hang = asyncio.Event()
    deliver = bed.broker.network.deliver

    async def delayed(errand, place, act):
        await hang.wait()
        return await deliver(errand, place, act)

    async with bed.started() as (publisher, _):
        bed.broker.network.deliver = delayed
        await publisher.publish(predictions(range(10)))
        await eventually(lambda: not publisher._backlog.waiting)
        assert bed.segments()
        hang.set()
        await eventually(lambda: publisher.is_idle)

    assert sorted(map(int, bed.effective())) == list(range(10))


def record(number: int) -> Outgoing:
    return Outgoing(TOPIC, b"k%d" % number, b"v" * number, [("ce_id", b"%d" % number)])


def test_a_segment_cut_short_at_any_byte_gives_what_stands_before_the_cut(tmp_path):
    records = [record(number) for number in range(4)]
    spill = Spill(tmp_path, ROOMY)
    segment = spill.write(1, 0, records)
    whole = segment.path.read_bytes()
    counts = []
    for length in range(len(whole) + 1):
        segment.path.write_bytes(whole[:length])
        found = Spill(tmp_path, ROOMY).read(segment)
        assert found == records[: len(found)]
        counts.append(len(found))

    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3, 4}


def test_a_damaged_record_and_what_follows_it_are_left_out(tmp_path):
    spill = Spill(tmp_path, ROOMY)
    segment = spill.write(1, 0, [record(number) for number in range(4)])
    content = bytearray(segment.path.read_bytes())
    content[len(content) // 2] ^= 1
    segment.path.write_bytes(content)

    [left] = Spill(tmp_path, ROOMY).leftovers

    assert 0 < len(left) < 4
    assert spill.read(left) == [record(number) for number in range(len(left))]


def test_segments_are_found_again_oldest_first_and_counted(tmp_path):
    spill = Spill(tmp_path, ROOMY)
    for started, first in ((12, 5), (2, 100), (12, 0)):
        spill.write(started, first, [record(1)])

    again = Spill(tmp_path, ROOMY)

    assert [(one.started, one.first) for one in again.leftovers] == [(2, 100), (12, 0), (12, 5)]
    assert again.size == spill.size == sum(path.stat().st_size for path in tmp_path.iterdir())
    for segment in again.leftovers:
        again.remove(segment)
    assert again.size == 0


def test_no_more_than_the_limit_goes_to_the_disk(tmp_path):
    spill = Spill(tmp_path, 200)
    spill.write(1, 0, [record(1)])
    with pytest.raises(SpillFullError, match="SERVING_SPILL_BYTES"):
        spill.write(1, 1, [record(150)])

    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_refuses_is_full_and_nothing_half_written_stays(tmp_path, monkeypatch):
    def refuse(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(SpillFullError, match="No space left"):
        Spill(tmp_path, ROOMY).write(1, 0, [record(1)])

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_comes_and_goes_every_answer_counts_once_and_in_order(
    bed, predictions, seed
):
    """The broker, the disk and two starts of the instance, with a small memory, at random."""
    chances = np.random.default_rng(seed)
    published: list[int] = []

    async def some(publisher: BusPublisher, count: int) -> None:
        ids = range(len(published), len(published) + count)
        published.extend(ids)
        await publisher.publish(predictions(ids))

    for _ in range(2):
        bed.away = False
        async with bed.started(room=30, spill_seconds=0.002, linger_seconds=0.001) as (
            publisher,
            _,
        ):
            for _ in range(30):
                bed.away = chances.random() < 0.5
                await some(publisher, int(chances.integers(0, 13)))
                await asyncio.sleep(float(chances.choice([0, 0, 0.001, 0.005])))
            bed.away = False
            await eventually(lambda publisher=publisher: publisher.is_idle)

    assert sorted(map(int, bed.effective())) == published
    by_partition = defaultdict(list)
    for record in bed.broker.records(TOPIC):
        event_id = int(Proto.FromString(record.value).event_id)
        if event_id not in by_partition[record.partition]:
            by_partition[record.partition].append(event_id)
    assert all(ids == sorted(ids) for ids in by_partition.values())
    assert not bed.segments()
