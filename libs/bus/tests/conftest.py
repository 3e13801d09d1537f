"""Databases, machines with a state that moves, and how long `--hypothesis-profile=long` explores the protocol's schedules."""

import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from millrace_bus import tables
from millrace_bus.broker import TopicPartition
from millrace_bus.snapshots import Saved, Snapshots
from millrace_bus.sql import Database
from millrace_bus.store import Bytes, PartitionStore
from millrace_bus.stream import StreamWorker
from millrace_bus.topology import ensure_topics
from millrace_kernel.errors import TransientError
from millrace_telemetry.metrics import BusMetrics
from millrace_testkit.blobs import MemoryBlobs
from millrace_testkit.counting import Counted, Counting, answers_in, decode_counted, seen_record
from millrace_testkit.counting_readers import stream_reader
from millrace_testkit.counting_sql import METADATA
from millrace_testkit.eventually import eventually
from millrace_testkit.memory import MemoryBroker

# instead of a fixed handful
settings.register_profile("long", max_examples=2_000, derandomize=False, print_blob=True)

EVENTS, FEATURES = "millrace.events", "millrace.features"
PLACE = TopicPartition(EVENTS, 3)


@pytest.fixture
def new_database(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[str], Database]]:
    """Makes one with the bus's tables and the counting service's: `new_database("sqlite")`, or "postgres"."""
    made: list[Database] = []

    def new_database(kind: str) -> Database:
        url = f"sqlite:///{tmp_path / 'test.db'}"
        if kind == "postgres":
            url = request.getfixturevalue("postgres").create_database()
        database = Database(url)
        made.append(database)
        with database.transaction() as connection:
            tables.METADATA.create_all(connection)
            METADATA.create_all(connection)
        return database

    yield new_database
    for database in made:
        database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.db)])
def database(request: pytest.FixtureRequest, new_database: Callable[[str], Database]) -> Database:
    return new_database(request.param)


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
        self.places = [TopicPartition(EVENTS, number) for number in range(4)]
        self.sent = 0

    def worker(self, machine: str, counting: Counting | None = None, **settings) -> StreamWorker:
        settings = {
            "snapshot_seconds": 0.05,
            "snapshot_records": 1,
            "replay_records": 10,
        } | settings
        return stream_reader(
            self.broker,
            self.folder / machine,
            counting,
            snapshots=self.snapshots,
            metrics=self.metrics,
            **settings,
        )

    async def tell(self, count: int) -> None:
        producer = self.broker.producer()
        for number in range(self.sent, self.sent + count):
            entity = f"entity-{number % 10}"
            await producer.send(EVENTS, number % 10 % 4, [seen_record(number, entity)])
            self.sent += 1

    def answers(self) -> list[Counted]:
        return answers_in(self.broker.records(FEATURES))

    async def answered(self) -> None:
        """Until every event has its answer."""
        await eventually(lambda: len({a.event_id for a in self.answers()}) == self.sent)

    async def saved(self) -> None:
        """Until the newest snapshots are of all that was told."""
        await eventually(
            lambda: all(
                self.snapshots.positions(place)[:1] == [len(self.broker.logs[place])]
                for place in self.places
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

    def damage_files(self) -> None:
        """Turn a bit in each file of all snapshots."""
        for key, content in self.blobs.content.items():
            if "/files/" in key and content:
                self.blobs.content[key] = bytes([content[0] ^ 1]) + content[1:]

    def restored(self, caplog) -> int:
        return sum("state restored" in record.message for record in caplog.records)


@pytest.fixture
def new_bed() -> Callable[[Path], Awaitable[Bed]]:
    """Makes a bed whose machines live in a folder."""

    async def new_bed(folder: Path) -> Bed:
        bed = Bed(folder)
        await ensure_topics(bed.broker)
        return bed

    return new_bed


@pytest.fixture
async def bed(new_bed: Callable[[Path], Awaitable[Bed]], tmp_path: Path) -> Bed:
    return await new_bed(tmp_path)


class Machine:
    """A machine with a state, that is written to and saved."""

    def __init__(self, folder: Path, blobs: MemoryBlobs) -> None:
        self.folder = folder
        self.snapshots = Snapshots("features", blobs, lambda: "cluster-1")
        self.store = PartitionStore(folder / "state", Bytes())
        self._taken = 0

    def write(self, position: int, **values: str) -> None:
        state = self.store.state()
        for key, value in values.items():
            state.put(key.encode(), value.encode())
        self.store.commit(position, {b"source": b"%016d" % position}, state)

    def save(self, stopped=lambda: False) -> Saved:
        checkpoint = self.checkpoint()
        position = self.store.position
        assert position is not None
        return self.snapshots.save(PLACE, position, checkpoint, stopped)

    def checkpoint(self) -> Path:
        self._taken += 1
        checkpoint = self.folder / f"checkpoint-{self._taken}"
        assert self.store.checkpoint(checkpoint) == self.store.position
        return checkpoint

    def content(self) -> dict[bytes, bytes]:
        return content(self.store)


def content(store: PartitionStore) -> dict[bytes, bytes]:
    """All bytes there are: position, fences, state."""
    return (
        dict(store._with_prefix(b"f"))
        | dict(store._with_prefix(b"p"))
        | dict(store._with_prefix(b"s"))
    )


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def machine(tmp_path: Path, blobs: MemoryBlobs) -> Iterator[Machine]:
    machine = Machine(tmp_path / "machine", blobs)
    yield machine
    machine.store.close()


@pytest.fixture
def zombie(tmp_path: Path, blobs: MemoryBlobs) -> Iterator[Machine]:
    """Another machine that takes itself for the owner of the same partition."""
    zombie = Machine(tmp_path / "zombie", blobs)
    yield zombie
    zombie.store.close()


@pytest.fixture
def restored(tmp_path: Path, machine: Machine):
    """Restores into a fresh folder: position, and all bytes."""

    def restore(snapshots: Snapshots | None = None, above: int | None = None):
        folder = tmp_path / "restored"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        result = (snapshots or machine.snapshots).restore(PLACE, folder, above)
        if result.position is None:
            assert not list(folder.iterdir())
            return result, {}
        store = PartitionStore(folder, Bytes())
        try:
            assert store.position == result.position
            return result, content(store)
        finally:
            store.close()

    return restore
