"""The real process on a real Kafka: killed in the middle of a stream, and stopped in the middle of requests."""

import asyncio
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from millrace_artifacts.store import ObjectStore
from millrace_bus.broker import TopicPartition
from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Record
from millrace_local.install import kafka_jars
from millrace_local.kafka import LocalKafka
from millrace_local.ports import free_ports
from millrace_local.process import start
from millrace_testkit.eventually import eventually

pytestmark = pytest.mark.broker
STEP = 10_000.0


class RecordingKafka(KafkaBroker):
    """Kafka, with what some topics hold at hand, as the in-memory broker has it."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(KafkaSettings(bootstrap))
        self.logs: dict[TopicPartition, list[Record]] = defaultdict(list)

    def records(self, topic: str) -> list[Record]:
        return [
            record
            for place, log in sorted(self.logs.items())
            if place.topic == topic
            for record in log
        ]

    async def record(self, *topics: str) -> None:
        consumer = self.consumer()
        await consumer.start()
        try:
            for place, beginning in (
                await consumer.beginnings(await consumer.assign(topics))
            ).items():
                consumer.seek(place, beginning)
            while True:
                for place, records in (await consumer.poll(10_000, 0.2)).items():
                    self.logs[place] += records
        finally:
            await consumer.stop()


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of our own: the topics have fixed names, and what other tests write there is not for us."""
    home = tmp_path_factory.mktemp("kafka")
    port, controller = free_ports(2)
    kafka = LocalKafka(home=home, port=port, controller_port=controller, jars=kafka_jars())
    with start(kafka, home / "log"):
        yield kafka.bootstrap


@pytest.fixture
async def bed(make_bed, tmp_path: Path, bootstrap: str, request) -> AsyncIterator:
    bed = make_bed(name=f"bikes-{abs(hash(request.node.name)) % 10_000}")
    bed.broker = RecordingKafka(bootstrap)
    bed.store = ObjectStore(f"file://{tmp_path}/objects")
    await ensure_topics(bed.broker)
    await bed.apply(bed.pipeline)
    recording = asyncio.create_task(
        bed.broker.record("millrace.predictions", "millrace.deployments")
    )
    yield bed
    recording.cancel()
    await asyncio.wait([recording])
    await bed.producer.stop()


class Process:
    """`python -m millrace_serving`, and a client of it."""

    def __init__(self, bed, bootstrap: str) -> None:
        self.port, grpc_port = free_ports(2)
        self.environment = {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "KAFKA_SESSION_TIMEOUT_SECONDS": "6",
            "MILLRACE_HOME": str(bed.folder),
            "OBJECT_STORE_URL": bed.store.url,
            "SERVING_PORT": str(self.port),
            "SERVING_GRPC_PORT": str(grpc_port),
        }
        self.log = bed.folder / f"log-{self.port}"

    async def __aenter__(self) -> "Process":
        with self.log.open("wb") as log:
            self.child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "millrace_serving",
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        await eventually(self.is_ready, within=60, what="readiness")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        if self.child.returncode is None:
            self.child.kill()
        await self.child.wait()

    async def is_ready(self) -> bool:
        assert self.child.returncode is None, self.log.read_text()
        try:
            return (await self.client.get("/v2/health/ready")).status_code == 200
        except httpx2.ConnectError:
            return False

    async def end(self, number: signal.Signals) -> int:
        self.child.send_signal(number)
        return await self.child.wait()


async def test_killed_in_the_middle_of_a_stream_it_answers_the_rest_and_nothing_is_lost_or_doubled(
    bed, bootstrap
):
    await bed.promote(1, epoch=1)
    for start_at in range(0, 6_000, 1_000):
        await bed.vectors_at_once(range(start_at, start_at + 1_000))
    killed_at = []
    for _ in range(3):
        async with Process(bed, bootstrap) as process:
            already = len(bed.predictions())
            await eventually(
                lambda already=already: len(bed.predictions()) > min(already + 500, 5_999),
                within=30,
            )
            await process.end(signal.SIGKILL)
            killed_at.append(len(bed.predictions()))
            await bed.vectors_at_once(
                range(len(killed_at) * 1_000 + 5_000, len(killed_at) * 1_000 + 6_000)
            )
    async with Process(bed, bootstrap):
        await eventually(
            lambda: len(bed.predictions()) >= 9_000, within=60, what="9000 predictions"
        )

    predictions = bed.predictions()
    assert sorted(int(one.event_id[1:]) for one in predictions) == list(range(9_000))
    assert {(one.model_version, int(one.value // STEP)) for one in predictions} == {(1, 1)}
    assert len(bed.deployments()) == 1


async def test_stopped_in_the_middle_of_requests_it_has_written_every_answer_that_it_gave(
    bed, bootstrap
):
    await bed.promote(1, epoch=1)
    answered: dict[str, float] = {}
    refused = 0

    async def ask(number: int) -> None:
        nonlocal refused
        turn = 0
        while True:
            turn += 1
            inputs = [
                {"name": "temp", "datatype": "FP64", "shape": [1], "data": [number]},
                {"name": "hum", "datatype": "FP64", "shape": [1], "data": [0.5]},
                {"name": "weather", "datatype": "BYTES", "shape": [1], "data": ["rain"]},
            ]
            body = {"id": f"r{number}-{turn}", "inputs": inputs}
            try:
                response = await process.client.post(
                    f"/v2/models/{bed.pipeline.name}/infer", json=body
                )
            except httpx2.TransportError:
                return  # it no longer listens
            if response.status_code == 200:
                answered[response.json()["id"]] = response.json()["outputs"][0]["data"][0]
            else:
                refused += 1

    async with Process(bed, bootstrap) as process:
        asking = [asyncio.create_task(ask(number)) for number in range(20)]
        await eventually(lambda: len(answered) > 500, within=60)
        assert await process.end(signal.SIGTERM) == 0, process.log.read_text()
        await asyncio.wait(asking, timeout=20)

    await eventually(lambda: len(bed.predictions()) >= len(answered), within=20)
    written = {one.event_id: one.value for one in bed.predictions()}
    assert answered.items() <= written.items()
    assert refused == 0
