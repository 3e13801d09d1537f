"""What people and programs see over HTTP."""

import httpx2
import numpy as np
import pytest

from millrace_monitoring.entrypoints.http import create


@pytest.fixture
def database_url(tmp_path) -> str:
    """HTTP is the same whatever is below it; `test_schema` looks at both databases."""
    return f"sqlite:///{tmp_path / 'monitoring.db'}"


@pytest.fixture
async def client(world):
    async with world.monitoring() as parts:
        transport = httpx2.ASGITransport(app=create(parts, lambda: True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://monitoring") as client:
            client.settled = lambda: world.settled(parts)
            yield client


async def test_a_pipeline_that_nobody_knows_is_answered_with_those_that_are_known(world, client):
    world.apply()
    await client.settled()

    response = await client.get("/v1/pipelines/trams/status")

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == "no pipeline 'trams'; known: bikes"
    assert (await client.get("/v1/pipelines")).json() == ["bikes"]


async def test_before_the_first_champion_there_is_a_status_without_one(world, client):
    world.apply()
    await client.settled()

    status = (await client.get("/v1/pipelines/bikes/status")).json()

    assert status == {
        "pipeline": "bikes",
        "pipeline_version": 1,
        "champion": None,
        "window": {"size": 100, "predictions": 0, "labelled": 0},
        "drifts": [],
        "alerts": [],
        "last_inputs": [],
        "last_quality": None,
        "overall": {"events": 0, "metrics": {}},
        "versions": {},
        "comparison": None,
    }


async def test_the_status_says_how_the_champion_does_and_what_drifts(world, client):
    rng = np.random.default_rng(1)
    world.apply()
    world.promote()
    world.label(rng, world.predict(rng, range(250), mean=25.0), error=8.0)
    await client.settled()

    status = (await client.get("/v1/pipelines/bikes/status")).json()

    assert status["champion"] == {
        "version": 1,
        "epoch": 1,
        "primary_metric": "mae",
        "metrics": {"mae": 8.0},
    }
    assert status["window"] == {"size": 100, "predictions": 50, "labelled": 50}
    (drift,) = status["drifts"]
    assert (drift["kind"], drift["subject"], drift["beyond"]) == ("data", "temp", True)
    assert drift["window_start"].startswith("2025-11-24T")
    assert drift["window_events"] == 100
    assert status["alerts"] == ["bikes/data/temp"]
    assert [one["subject"] for one in status["last_inputs"]] == [
        "temp",
        "hum",
        "weather",
        "prediction",
    ]
    assert status["last_quality"]["events"] == 100
    assert status["last_quality"]["metrics"]["mae"] == pytest.approx(6.4, abs=1.5)
    assert status["overall"]["events"] == 250
    assert status["versions"]["1"] == status["overall"]
    assert set(status["overall"]["metrics"]) == {"mae", "rmse", "r2"}


async def test_health_and_metrics_are_there(client):
    assert (await client.get("/health/ready")).json() == {"ready": True}
    assert (await client.get("/health/live")).status_code == 200
    assert "millrace_messages_consumed" in (await client.get("/metrics")).text
    assert "/v1/pipelines/{pipeline}/status" in (await client.get("/openapi.json")).json()["paths"]
