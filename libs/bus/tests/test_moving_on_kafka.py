"""State that moves, on a real Kafka and through files in an object store: machines come, go and are lost with their disks."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from millrace_artifacts.blobs import ObjectBlobs
from millrace_bus.broker import TopicPartition, TopicSpec
from millrace_bus.homes import LostRecordsError
from millrace_bus.identity import cluster_id
from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.snapshots import Snapshots
from millrace_bus.stream import StreamSettings, StreamWorker, each
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Message
from millrace_testkit.broker_suite import fresh_name
from millrace_testkit.counting import WIRE, Counting, PairCodec, decode_counted, seen_record
from millrace_testkit.eventually import eventually, running
from millrace_testkit.reading import effective
from millrace_testkit.servers import KafkaServer

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

FEATURES = "millrace.features"
PARTITIONS, ENTITIES = 6, 23


class Cluster:
    """A topic of its own on the shared Kafka, an object store, and machines that share nothing else."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.kafka = KafkaSettings(bootstrap, session_timeout_seconds=6.0)
        self.broker = KafkaBroker(self.kafka)
        self.folder = folder
        self.name = fresh_name("moving")
        self.topic = fresh_name("moving-events")
        self.places = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
        self.ends = dict.fromkeys(self.places, 0)
        self.sent = 0
        blobs = ObjectBlobs(f"file://{folder}/objects")
        self.snapshots = Snapshots(self.name, blobs, lambda: cluster_id(self.kafka))
        self._positions: dict[TopicPartition, int] = {}
        self._newest: dict[tuple[str, int], bytes] = {}
        self._consumer = self.broker.consumer()
        self.seen: list[Message] = []  # effective ones
        self.appended = 0

    async def start(self) -> None:
        await ensure_topics(self.broker)
        await self.broker.create_topics([TopicSpec(self.topic, PARTITIONS)])
        self.producer = self.broker.producer()
        await self.producer.start()
        await self._consumer.start()
        places = await self._consumer.assign([FEATURES])
        for place, end in (await self._consumer.ends(places)).items():
            self._consumer.seek(place, end)  # what other tests have written

    async def stop(self) -> None:
        await self.producer.stop()
        await self._consumer.stop()

    def worker(self, machine: str, **settings) -> StreamWorker:
        settings = {
            "max_records": 200,
            "poll_seconds": 0.1,
            "snapshot_seconds": 0.5,
            "snapshot_records": 1,
            "replay_records": 50,
        } | settings
        return StreamWorker(
            self.name,
            [self.topic],
            wire=WIRE,
            process=each(Counting().handle),
            codec=PairCodec(),
            broker=self.broker,
            settings=StreamSettings(self.folder / machine, **settings),
            chance=lambda: 0.5,
            snapshots=self.snapshots,
        )

    async def tell(self, count: int) -> None:
        for number in range(self.sent, self.sent + count):
            place = self.places[number % ENTITIES % PARTITIONS]
            record = seen_record(number, f"entity-{number % ENTITIES}")
            await self.producer.send(*place, [record])
            self.ends[place] += 1
            self.sent += 1

    async def read(self) -> int:
        """How many answers are effective by now."""
        for records in (await self._consumer.poll(10_000, 0.05)).values():
            messages = [Message(record) for record in records]
            own = [m for m in messages if m.source.startswith(f"millrace/{self.name}/")]
            self.appended += len(own)
            self.seen += effective(own, self._newest)
        return len(self.seen)

    async def answered(self, within: float = 60) -> None:
        async def all_answered() -> bool:
            return await self.read() >= self.sent

        await eventually(all_answered, within=within, what="every event has its answer")

    async def saved(self) -> None:
        """Until the newest snapshots are of all that was told."""

        async def all_saved() -> bool:
            newest = [
                await asyncio.to_thread(self.snapshots.positions, place) for place in self.places
            ]
            return [positions[:1] for positions in newest] == [[self.ends[p]] for p in self.places]

        await eventually(all_saved, within=60, what="every partition is saved to its end")

    def assert_counted_once(self) -> None:
        answers = [decode_counted(message.value) for message in self.seen]
        ids = Counter(answer.event_id for answer in answers)
        assert ids == Counter(f"e{number}" for number in range(self.sent))
        last = {answer.entity: answer for answer in answers}
        for entity in range(ENTITIES):
            numbers = range(entity, self.sent, ENTITIES)
            found = last[f"entity-{entity}"]
            assert (found.count, found.total) == (len(numbers), float(sum(numbers)))


@pytest.fixture
async def cluster(kafka: KafkaServer, tmp_path: Path):
    cluster = Cluster(kafka.bootstrap, tmp_path)
    await cluster.start()
    yield cluster
    await cluster.stop()


async def test_one_becomes_three_becomes_one_under_load(cluster: Cluster, caplog):
    caplog.set_level("INFO", logger="millrace_bus.homes")

    enough = asyncio.Event()

    async def load() -> None:
        while not enough.is_set():
            await cluster.tell(20)
            await asyncio.sleep(0.02)

    async def more(count: int) -> None:
        """Until so many more are answered."""
        goal = await cluster.read() + count

        async def reached() -> bool:
            return await cluster.read() >= goal

        await eventually(reached, within=60)

    loading = asyncio.ensure_future(load())
    try:
        async with running(cluster.worker("one")):
            await more(300)
            async with running(cluster.worker("two")):
                await more(300)
                async with running(cluster.worker("three")):
                    await more(600)
            await more(600)
            enough.set()
            await loading
            await cluster.answered()
    finally:
        loading.cancel()
    cluster.assert_counted_once()
    restored = [record for record in caplog.records if "state restored" in record.message]
    assert restored, "state moved through the object store"


async def delete_beginnings(cluster: Cluster, left: int) -> None:
    """As retention does: of each partition only so many records stay."""
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_records(
            {
                KafkaPartition(*place): RecordsToDelete(before_offset=end - left)
                for place, end in cluster.ends.items()
            }
        )
    finally:
        await admin.close()


async def test_a_state_lost_with_its_machine_comes_back_when_the_topic_has_forgotten_its_beginning(
    cluster: Cluster,
):
    async with running(cluster.worker("one")):
        await cluster.tell(500)
        await cluster.answered()
        await cluster.saved()
    await cluster.tell(100)
    appended = cluster.appended
    shutil.rmtree(cluster.folder / "one")
    await delete_beginnings(cluster, left=30)
    async with running(cluster.worker("two")):
        await cluster.answered()
    assert cluster.appended == appended + 100, "nothing was done again"
    cluster.assert_counted_once()


async def test_a_state_lost_without_a_snapshot_is_made_again_and_readers_see_no_difference(
    cluster: Cluster,
):
    async with running(cluster.worker("one", snapshot_seconds=1_000.0)):
        await cluster.tell(200)
        await cluster.answered()
    async with running(cluster.worker("two")):
        await cluster.tell(100)
        await cluster.answered()
    assert cluster.appended == 500
    cluster.assert_counted_once()


async def test_a_reader_that_retention_has_overtaken_stops_and_says_so(cluster: Cluster):
    async with running(cluster.worker("one", snapshot_seconds=1_000.0)):
        await cluster.tell(200)
        await cluster.answered()
    await cluster.tell(200)
    await delete_beginnings(cluster, left=1)
    work = asyncio.ensure_future(cluster.worker("one").run())
    await asyncio.wait([work], timeout=60)
    with pytest.raises(
        LostRecordsError, match=r"had read up to offset \d+, but the topic now begins at"
    ):
        work.result()
