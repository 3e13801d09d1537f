"""What people may look at."""

import pytest
from fastapi.testclient import TestClient

from millrace_proto.v1 import commands_pb2
from millrace_testkit.eventually import eventually, running
from millrace_training.entrypoints.http import create

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def client(service) -> TestClient:
    return TestClient(create(service, lambda: True))


async def test_runs_datasets_and_every_decision_can_be_looked_at(neighbours, parts, client):
    async with running(*parts()):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        await neighbours.hears("TrainingCompleted")
        drift = await neighbours.drift(61)
        await neighbours.hears("RetrainSkipped")

    [run] = client.get("/v1/pipelines/bikes/runs").json()
    assert (run["run_number"], run["state"], run["trigger"], run["algorithm"]) == (
        1,
        "finished",
        "first",
        "linear",
    )
    assert run["metrics"]["mae"] < 2
    assert run["cpu_seconds"] > 0
    [dataset] = client.get("/v1/pipelines/bikes/datasets").json()
    assert (dataset["rows"], dataset["vectors_version"], dataset["labels_version"]) == (60, 1, 1)
    assert dataset["first_event_time"] == "2026-03-01T00:00:00.000000Z"
    skipped, requested = client.get("/v1/pipelines/bikes/decisions").json()
    assert (skipped["reason"], skipped["cause_id"], skipped["requested"]) == (
        "cooling_down",
        drift,
        False,
    )
    assert skipped["detail"].startswith(
        "data/temp drifted (psi 0.31 beyond 0.2 over 500 events); the last run"
    )
    assert (requested["requested"], requested["run_number"], requested["reason"]) == (True, 1, None)
    status = client.get("/v1/pipelines/bikes/status").json()
    assert (status["labelled_rows"], status["running"], status["paused"]) == (60, None, False)
    assert status["put_off"] == ["data/temp drifted (psi 0.31 beyond 0.2 over 500 events)"]


async def test_the_newest_come_first_and_as_many_as_asked_for(neighbours, parts, client):
    async with running(*parts()):
        await neighbours.apply()
        await eventually(lambda: client.get("/v1/pipelines").json() == ["bikes"])
        await neighbours.command(commands_pb2.PausePipeline(pipeline="bikes", paused=True))
        for _ in range(3):
            last = await neighbours.retrain()
        await neighbours.hears("RetrainSkipped", 3)

    [decision] = client.get("/v1/pipelines/bikes/decisions?limit=1").json()
    assert (decision["cause_id"], decision["reason"]) == (last, "paused")


@pytest.mark.parametrize("what", ["status", "runs", "datasets", "decisions", "costs"])
def test_an_unknown_pipeline_is_not_found_and_the_known_ones_are_named(client, what):
    answer = client.get(f"/v1/pipelines/biks/{what}")

    assert answer.status_code == 404
    assert answer.json()["detail"] == "no pipeline 'biks'; known: none"


def test_health_metrics_and_documentation_are_there(client):
    assert client.get("/health/live").json() == {"live": True}
    assert client.get("/health/ready").json() == {"ready": True}
    assert client.get("/metrics").status_code == 200
    assert "/v1/pipelines/{pipeline}/decisions" in client.get("/openapi.json").json()["paths"]
