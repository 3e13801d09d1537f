"""What every service answers over HTTP."""

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from millrace_kernel.errors import PermanentError, TransientError
from millrace_service.http import create_app
from millrace_telemetry.metrics import BusMetrics


@pytest.fixture
def readiness() -> dict[str, bool]:
    return {"ready": False}


@pytest.fixture
def client(readiness: dict[str, bool]) -> TestClient:
    metrics = BusMetrics()
    metrics.consumed.labels("millrace.events").inc(3)
    app = create_app("test", lambda: readiness["ready"], metrics.registry)

    @app.get("/refused")
    async def refused() -> None:
        raise PermanentError("field temp: 'warm' is no number; send 21.5")

    @app.get("/away")
    async def away() -> None:
        raise TransientError("the broker is away")

    return TestClient(app)


def test_it_is_live_before_it_is_ready(client: TestClient, readiness: dict[str, bool]):
    assert client.get("/health/live").json() == {"live": True}
    assert client.get("/health/ready").status_code == 503
    readiness["ready"] = True
    assert client.get("/health/ready").json() == {"ready": True}


def test_metrics_are_prometheus_text(client: TestClient):
    assert (
        'millrace_messages_consumed_total{topic="millrace.events"} 3.0'
        in client.get("/metrics").text
    )


def test_a_refusal_is_a_problem_in_words(client: TestClient):
    answer = client.get("/refused")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "field temp: 'warm' is no number; send 21.5"


def test_a_passing_failure_says_when_to_come_back(client: TestClient):
    answer = client.get("/away")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_every_service_has_its_documentation(client: TestClient):
    assert client.get("/docs").status_code == 200


def test_an_empty_registry_is_fine():
    assert (
        TestClient(create_app("empty", lambda: True, CollectorRegistry()))
        .get("/metrics")
        .status_code
        == 200
    )
