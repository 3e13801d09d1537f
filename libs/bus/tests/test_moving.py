"""State that moves: what one machine knew, another goes on from, and no reader can tell."""

import asyncio
import threading
from collections import Counter
from pathlib import Path

import pytest

from millrace_bus.broker import TopicPartition
from millrace_bus.homes import LostRecordsError
from millrace_bus.retry import Backoff
from millrace_bus.snapshots import Snapshots
from millrace_bus.store import StateInUseError
from millrace_bus.stream import StreamSettings, StreamWorker, each
from millrace_bus.topology import ensure_topics
from millrace_kernel.errors import TransientError
from millrace_telemetry.metrics import BusMetrics
from millrace_testkit.blobs import MemoryBlobs
from millrace_testkit.counting import (
    WIRE,
    Counted,
    Counting,
    PairCodec,
    decode_counted,
    seen_record,
)
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker

EVENTS, FEATURES = "millrace.events", "millrace.features"
QUICK = Backoff(0.001, 0.01)
PLACES = [TopicPartition(EVENTS, number) for number in range(4)]


class RetainingBroker(MemoryBroker):
    """Whose topics have lost their beginnings, as Kafka's do by and by."""

    def __init__(self) -> None:
        super().__init__()
        self.beginning: dict[TopicPartition, int] = {}
        self.unanswered = 0  # how many questions for beginnings fail

    def consumer(self, group=None, listener=None):
        consumer = super().consumer(group, listener)
        poll = consumer.poll

        async def beginnings(places):
            if self.unanswered:
                self.unanswered -= 1
                raise TransientError("the broker is away")
            return {place: self.beginning.get(place, 0) for place in places}

        async def polled(max_records, timeout):
            batches = await poll(max_records, timeout)
            there = {
                place: [r for r in records if r.offset >= self.beginning.get(place, 0)]
                for place, records in batches.items()
            }
            return {place: records for place, records in there.items() if records}

        consumer.beginnings, consumer.poll = beginnings, polled
        return consumer


class Bed:
    """A broker, an object store, and machines that come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = RetainingBroker()
        self.blobs = MemoryBlobs()
        self.snapshots = Snapshots("features", self.blobs, lambda: "cluster-1")
        self.metrics = BusMetrics()
        self.sent = 0

    def worker(self, machine: str, counting: Counting | None = None, **settings) -> StreamWorker:
        settings = {
            "max_records": 7,
            "poll_seconds": 0.02,
            "backoff": QUICK,
            "snapshot_seconds": 0.05,
            "snapshot_records": 1,
            "replay_records": 10,
        } | settings
        return StreamWorker(
            "features",
            [EVENTS],
            wire=WIRE,
            process=each((counting or Counting()).handle),
            codec=PairCodec(),
            broker=self.broker,
            settings=StreamSettings(self.folder / machine, **settings),
            chance=lambda: 0.5,
            snapshots=self.snapshots,
            metrics=self.metrics,
        )

    async def tell(self, count: int) -> None:
        producer = self.broker.producer()
        for number in range(self.sent, self.sent + count):
            entity = f"entity-{number % 10}"
            await producer.send(EVENTS, number % 10 % 4, [seen_record(number, entity)])
            self.sent += 1

    def answers(self) -> list[Counted]:
        return [decode_counted(record.value) for record in self.broker.records(FEATURES)]

    async def answered(self) -> None:
        """Until every event has its answer."""
        await eventually(lambda: len({a.event_id for a in self.answers()}) == self.sent)

    async def saved(self) -> None:
        """Until the newest snapshots are of all that was told."""
        await eventually(
            lambda: all(
                self.snapshots.positions(place)[:1] == [len(self.broker.logs[place])]
                for place in PLACES
            )
        )

    def effective(self) -> list[tuple[object, ...]]:
        """All that a fencing reader can tell apart, in the order of each partition."""
        newest: dict[object, bytes] = {}
        seen = []
        for record in self.broker.records(FEATURES):
            headers = dict(record.headers)
            place, sequence = (headers["ce_source"], record.partition), headers["ce_sequence"]
            if newest.get(place, b"") < sequence:
                newest[place] = sequence
                seen.append((record.partition, record.key, record.value, *headers.items()))
        return seen

    def assert_counted_once(self) -> None:
        ids = Counter(decode_counted(seen[2]).event_id for seen in self.effective())
        assert ids == Counter(f"e{number}" for number in range(self.sent))
        by_id: dict[str, set[bytes]] = {}
        for record in self.broker.records(FEATURES):
            by_id.setdefault(dict(record.headers)["ce_id"], set()).add(record.value)
        assert all(len(values) == 1 for values in by_id.values()), "done again, it is the same"

    def restored(self, caplog) -> int:
        return sum("state restored" in record.message for record in caplog.records)


@pytest.fixture
async def bed(tmp_path: Path) -> Bed:
    bed = Bed(tmp_path)
    await ensure_topics(bed.broker)
    return bed


async def undisturbed(folder: Path, count: int) -> list[tuple[object, ...]]:
    """What one machine that never moves publishes."""
    other = Bed(folder)
    await ensure_topics(other.broker)
    await other.tell(count)
    async with running(other.worker("only")):
        await other.answered()
    return other.effective()


async def test_a_lost_machine_s_state_is_restored_and_the_rest_read_again(bed, tmp_path, caplog):
    caplog.set_level("INFO")
    await bed.tell(100)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
        taken = dict(bed.blobs.content), dict(bed.blobs.written)
        await bed.tell(60)
        await bed.answered()
    bed.blobs.content, bed.blobs.written = taken  # what came after the last snapshot is lost
    read_before = len(bed.answers())
    async with running(bed.worker("second")):
        await bed.tell(40)
        await bed.answered()
    assert bed.restored(caplog) == 4
    assert read_before + 60 + 40 == len(bed.answers()), "only what came after the snapshot"
    bed.assert_counted_once()
    assert sorted(bed.effective()) == sorted(await undisturbed(tmp_path / "u", 200))


async def test_a_state_whose_past_the_topic_has_deleted_is_restored(bed, caplog):
    caplog.set_level("INFO")
    await bed.tell(100)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    bed.broker.beginning = {place: len(bed.broker.logs[place]) - 1 for place in PLACES}
    async with running(bed.worker("second")):
        await bed.tell(20)
        await bed.answered()
    assert bed.restored(caplog) == 4
    bed.assert_counted_once()


async def test_a_state_that_has_fallen_behind_the_topic_s_beginning_is_replaced(bed, caplog):
    caplog.set_level("INFO")
    await bed.tell(20)
    async with running(bed.worker("first", snapshot_seconds=1000.0)):
        await bed.answered()
    await bed.tell(30)
    async with running(bed.worker("second")):
        await bed.answered()
        await bed.saved()
    bed.broker.beginning = {place: len(bed.broker.logs[place]) for place in PLACES}
    caplog.clear()
    async with running(bed.worker("first", replay_records=1_000_000)):
        await bed.tell(10)
        await bed.answered()
    assert bed.restored(caplog) == 4
    bed.assert_counted_once()


@pytest.mark.parametrize(("replay_records", "restores"), [(4, 4), (1_000, 0)])
async def test_a_state_far_behind_its_snapshot_is_replaced_and_a_near_one_caught_up(
    bed, caplog, replay_records, restores
):
    caplog.set_level("INFO")
    await bed.tell(20)
    async with running(bed.worker("first", snapshot_seconds=1000.0)):
        await bed.answered()
    await bed.tell(40)
    async with running(bed.worker("second")):
        await bed.answered()
        await bed.saved()
    caplog.clear()
    async with running(bed.worker("first", replay_records=replay_records)):
        await bed.tell(10)
        await bed.answered()
    assert bed.restored(caplog) == restores
    bed.assert_counted_once()


async def test_records_deleted_before_they_were_read_stop_the_service(bed):
    await bed.tell(20)
    async with running(bed.worker("first", snapshot_seconds=1000.0)):
        await bed.answered()
    await bed.tell(20)
    bed.broker.beginning = {PLACES[1]: len(bed.broker.logs[PLACES[1]]) - 2}
    with pytest.raises(
        LostRecordsError, match=r"millrace.events/1: .* had read up to offset 6, .* begins at 10"
    ):
        async with asyncio.timeout(5):
            await bed.worker("first").run()


async def test_an_operator_can_accept_the_loss(bed, caplog):
    await bed.tell(20)
    async with running(bed.worker("first", snapshot_seconds=1000.0)):
        await bed.answered()
    await bed.tell(20)
    bed.broker.beginning = {PLACES[1]: len(bed.broker.logs[PLACES[1]]) - 2}
    async with running(bed.worker("first", accept_lost_records=True)):
        await eventually(lambda: len({a.event_id for a in bed.answers()}) == 36)
    assert "4 offsets can't be read any more" in caplog.text
    last = [answer for answer in bed.answers() if answer.entity == "entity-5"][-1]
    assert last.count == 3, "two before, one lost, and this"


async def test_records_deleted_while_a_reader_was_too_slow_stop_it(bed):
    await bed.tell(20)
    counting = Counting()
    counting.blocked.add("entity-2")
    work = asyncio.ensure_future(bed.worker("first", counting).run())
    await eventually(lambda: len(bed.answers()) > 5)
    bed.broker.beginning = {PLACES[2]: len(bed.broker.logs[PLACES[2]])}
    await bed.tell(10)
    counting.blocked.clear()
    await asyncio.wait([work], timeout=5)
    with pytest.raises(LostRecordsError, match="retention was faster than this reader"):
        work.result()


async def test_a_new_partition_begins_where_its_topic_does(bed):
    await bed.tell(40)
    bed.broker.beginning = dict.fromkeys(PLACES, 2)
    async with running(bed.worker("first")):
        await eventually(lambda: len(bed.answers()) == 32)


def damage(blobs: MemoryBlobs) -> None:
    for key, content in blobs.content.items():
        if "/files/" in key and content:
            blobs.content[key] = bytes([content[0] ^ 1]) + content[1:]


async def test_with_no_usable_snapshot_the_state_is_built_from_the_beginning(bed, caplog):
    await bed.tell(40)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    damage(bed.blobs)
    async with running(bed.worker("second")):
        await eventually(lambda: len(bed.answers()) == 80)
    assert "built again from the topic's beginning" in caplog.text
    bed.assert_counted_once()


async def test_with_no_usable_snapshot_and_no_beginning_the_service_stops(bed):
    await bed.tell(40)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    damage(bed.blobs)
    bed.broker.beginning = {PLACES[0]: 1}
    with pytest.raises(LostRecordsError, match="no snapshot is usable"):
        async with asyncio.timeout(5):
            await bed.worker("second").run()


async def test_an_object_store_that_is_away_stops_no_stream(bed):
    def away(errand: str, key: str) -> None:
        raise TransientError("the object store is away")

    await bed.tell(40)
    async with running(bed.worker("first", snapshot_seconds=1000.0)):
        await bed.answered()  # so that the state is here
    bed.blobs.fault = away
    async with running(bed.worker("first")):
        await bed.tell(40)
        await bed.answered()
        failures = bed.metrics.snapshot_failures.labels(EVENTS)
        await eventually(lambda: failures._value.get() > 3)
        bed.blobs.fault = lambda errand, key: None
        await bed.saved()
    bed.assert_counted_once()


async def test_every_tenth_write_failing_is_tried_again(bed):
    writes = {"count": 0}

    def sometimes(errand: str, key: str) -> None:
        writes["count"] += errand == "put"
        if errand == "put" and writes["count"] % 10 == 0:
            raise TransientError("not now")

    bed.blobs.fault = sometimes
    async with running(bed.worker("first")):
        for _ in range(5):
            await bed.tell(20)
            await bed.saved()
    async with running(bed.worker("second")):
        await bed.tell(20)
        await bed.answered()
    bed.assert_counted_once()


async def test_a_partition_without_its_state_waits_for_the_object_store(bed, caplog):
    caplog.set_level("INFO")
    await bed.tell(40)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    left = {"count": 20}

    def away(errand: str, key: str) -> None:
        if left["count"]:
            left["count"] -= 1
            raise TransientError("the object store is away")

    bed.blobs.fault = away
    async with running(bed.worker("second", snapshot_seconds=1000.0)):
        await bed.tell(20)
        await bed.answered()
    assert len(bed.answers()) == 60
    assert "waits for its state" in caplog.text
    assert bed.restored(caplog) == 4
    bed.assert_counted_once()


async def test_a_slow_restore_holds_neither_its_neighbours_nor_a_rebalance(bed):
    await bed.tell(40)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    slow = threading.Event()

    def slowly(errand: str, key: str) -> None:
        if errand == "get" and f"/{EVENTS}-0/files/" in key:
            slow.wait(20)

    bed.blobs.fault = slowly
    try:
        async with running(bed.worker("second")):
            await bed.tell(20)
            others = {f"e{n}" for n in range(60) if n % 10 % 4}
            await eventually(lambda: others <= {a.event_id for a in bed.answers()})
            assert len({a.event_id for a in bed.answers()}) < 60
            async with running(bed.worker("third")):  # a rebalance, while the restore is under way
                await bed.tell(10)
                slow.set()
                await bed.answered()
    finally:
        slow.set()
    bed.assert_counted_once()


async def test_two_instances_in_one_folder_are_told_so(bed):
    await bed.tell(10)
    async with running(bed.worker("first")):
        await bed.answered()
        bed.broker = RetainingBroker()  # in another group, or it would be given half the partitions
        await ensure_topics(bed.broker)
        work = asyncio.ensure_future(bed.worker("first").run())
        await asyncio.wait([work], timeout=5)
        with pytest.raises(StateInUseError, match="a MILLRACE_INSTANCE of its own"):
            work.result()


async def test_a_rebalance_that_the_broker_disturbs_is_made_good(bed):
    bed.broker.unanswered = 3
    await bed.tell(20)
    async with running(bed.worker("first")):
        await bed.answered()
    bed.assert_counted_once()


async def test_what_a_killed_process_left_half_done_is_swept_away(bed):
    for name in (".coming-x", ".going-x", ".checkpoint-x"):
        (bed.folder / "first" / name / "deep").mkdir(parents=True)
    await bed.tell(10)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
    assert {path.name for path in (bed.folder / "first").iterdir()} == {
        f"{EVENTS}-{number}" for number in range(4)
    }


async def test_a_state_that_rests_is_not_copied_again(bed):
    await bed.tell(20)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
        written = len(bed.blobs.puts)
        await asyncio.sleep(0.5)  # ten intervals
        assert len(bed.blobs.puts) == written


async def test_what_is_copied_is_measured(bed):
    await bed.tell(20)
    async with running(bed.worker("first")):
        await bed.answered()
        await bed.saved()
        await eventually(lambda: bed.metrics.snapshots.labels(EVENTS)._sum.get() > 0)
        sample = bed.metrics.registry.get_sample_value
        await eventually(
            lambda: (
                sample("millrace_snapshot_duration_seconds_count", {"topic": EVENTS}) >= 4
                and sample("millrace_snapshot_sent_bytes_total", {"topic": EVENTS}) > 1_000
            )
        )
        ages = [
            sample("millrace_snapshot_age_seconds", {"topic": EVENTS, "partition": str(number)})
            for number in range(4)
        ]
        assert all(age is not None and age >= 0 for age in ages)
    gone = {"topic": EVENTS, "partition": "0"}
    assert sample("millrace_snapshot_age_seconds", gone) is None


async def test_one_becomes_three_becomes_one_under_load(bed):
    """Every machine has its own folder, so that state truly moves through the object store."""

    enough = asyncio.Event()

    async def load() -> None:
        while not enough.is_set():
            await bed.tell(5)
            await asyncio.sleep(0.01)

    loading = asyncio.ensure_future(load())
    try:
        async with running(bed.worker("one")):
            await eventually(lambda: len(bed.answers()) > 50)
            async with running(bed.worker("two")):
                await eventually(lambda: len(bed.answers()) > 200)
                async with running(bed.worker("three")):
                    await eventually(lambda: len(bed.answers()) > 400)
            await eventually(lambda: len(bed.answers()) > 600)
            enough.set()
            await loading
            await bed.answered()
    finally:
        loading.cancel()
    bed.assert_counted_once()
