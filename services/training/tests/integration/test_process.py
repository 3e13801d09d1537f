"""The service as a process of its own, on a real Kafka."""

import asyncio
import sys
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from millrace_local.ports import free_port
from millrace_testkit.eventually import eventually


@pytest.mark.broker
@pytest.mark.timeout(180)
async def test_it_starts_becomes_ready_and_stops_when_it_is_told_to(kafka, tmp_path, monkeypatch):
    port = free_port()
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    monkeypatch.setenv("TRAINING_PORT", str(port))
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "millrace_training")

    await eventually(
        lambda: asyncio.to_thread(answers, f"http://127.0.0.1:{port}/health/ready"), within=60
    )
    process.terminate()

    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert (tmp_path / "training" / "training.db").is_file()


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (URLError, ConnectionError, TimeoutError):
        return False
