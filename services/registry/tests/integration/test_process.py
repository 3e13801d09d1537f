"""`python -m millrace_registry` on a real Kafka."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import httpx2
import pytest

from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.outputs import Outputs
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Cause
from millrace_local.ports import free_port
from millrace_telemetry.tracing import NO_TRACING
from millrace_testkit.eventually import eventually
from millrace_testkit.servers import KafkaServer

pytestmark = pytest.mark.broker


@pytest.fixture
async def address(kafka: KafkaServer, tmp_path) -> AsyncIterator[str]:
    """Where the process answers; it has ended well when the test is over."""
    port = free_port()
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "MILLRACE_HOME": str(tmp_path),
        "REGISTRY_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "millrace_registry", env=environment
    )
    yield f"http://127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_the_process_takes_a_file_and_promotes_a_candidate(
    kafka, address, bikes, completed, others
):
    async with httpx2.AsyncClient(base_url=address) as client:

        async def ready() -> bool:
            try:
                return (await client.get("/health/ready")).json()["ready"]
            except httpx2.TransportError:
                return False

        async def champion() -> int | None:
            return (await client.get("/v1/pipelines/bikes")).json()["pipeline"]["champion"]

        await eventually(ready, within=90)
        assert (await client.post("/v1/pipelines", content=bikes)).status_code == 201
        await _tell(kafka, completed(1), others)
        assert await eventually(champion, within=30) == 1
        asked = await client.post(
            "/v1/pipelines/bikes/commands", json={"kind": "approve", "version": 1}
        )
        assert asked.status_code == 202


async def _tell(kafka, proto, others) -> None:
    """As training does."""
    cause = Cause("a-cause", 0, "a-chain")
    message = Outputs("test/training", others, NO_TRACING).record(proto, cause, sequence(1, 0), 0)
    producer = KafkaBroker(KafkaSettings(kafka.bootstrap, client_id="test")).producer()
    await producer.start()
    await producer.send("millrace.training", 0, [message])
    await producer.stop()
