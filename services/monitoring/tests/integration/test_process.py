"""`python -m millrace_monitoring` on a real Kafka."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import httpx2
import numpy as np
import pytest

from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.outputs import by_partition
from millrace_contracts.message import Outgoing
from millrace_local.ports import free_port
from millrace_monitoring.entrypoints.worker import TOPICS
from millrace_testkit.eventually import eventually
from millrace_testkit.servers import KafkaServer

pytestmark = pytest.mark.broker


@pytest.fixture
def database_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'unused.db'}"


@pytest.fixture
async def address(kafka: KafkaServer, tmp_path) -> AsyncIterator[str]:
    """Where the process answers; it has ended well when the test is over."""
    port = free_port()
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "MILLRACE_HOME": str(tmp_path),
        "MONITORING_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "millrace_monitoring", env=environment
    )
    yield f"http://127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_the_process_finds_a_shift_among_what_is_said_on_kafka(kafka, address, world):
    rng = np.random.default_rng(1)
    world.pipeline = "monitored"  # other tests use this Kafka too
    world.apply()
    world.promote()
    world.label(rng, world.predict(rng, range(250), mean=25.0))

    async with httpx2.AsyncClient(base_url=address) as client:

        async def ready() -> bool:
            try:
                return (await client.get("/health/ready")).json()["ready"]
            except httpx2.TransportError:
                return False

        async def status() -> dict | None:
            answer = await client.get("/v1/pipelines/monitored/status")
            found = answer.json() if answer.status_code == 200 else {"overall": {"events": 0}}
            return found if found["overall"]["events"] == 250 else None

        await eventually(ready, within=90)
        await _say_on(kafka, world)
        found = await eventually(status, within=60)

    assert "monitored/data/temp" in found["alerts"]


async def _say_on(kafka: KafkaServer, world) -> None:
    """What the world said in memory, on Kafka."""
    producer = KafkaBroker(KafkaSettings(kafka.bootstrap, client_id="test")).producer()
    await producer.start()
    for topic in TOPICS:
        messages = [
            Outgoing(topic, record.key, record.value, list(record.headers))
            for record in world.broker.records(topic)
        ]
        for place, part in (await by_partition(producer, messages)).items():
            await producer.send(place.topic, place.partition, part)
    await producer.stop()
