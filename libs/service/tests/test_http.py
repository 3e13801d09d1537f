"""What every service answers over HTTP."""

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from millrace_kernel.errors import PermanentError, TransientError
from millrace_service.http import LimitedBody, NamePath, create_app
from millrace_service.reference import reference
from millrace_telemetry.metrics import BusMetrics


class Asked(BaseModel):
    text: str
    number: int = 0


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

    @app.post("/v1/{name}", responses={404: {"description": "no such thing"}})
    async def asked(name: NamePath, asked: Asked) -> str:
        return name

    @app.get("/gone")
    async def gone() -> None:
        raise ClientDisconnect

    app.add_middleware(LimitedBody, largest=1_000)
    return TestClient(app)


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": NaN}', b'{"text": "a", "number": Infinity}', b'{"text": "a", "number": NaN}',
        b"{", b"null", b'{"text": {"a": "\\udfff"}}', b"",
    ],
)  # fmt: skip
def test_what_is_no_request_is_told_without_being_repeated(client: TestClient, body: bytes):
    """It may be no JSON and no UTF-8, and then could not be written into an answer."""
    answer = client.post("/v1/bikes", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["problems"][0]["where"].startswith("body")
    assert "body" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["a%00b", "%00", "UPPER", "a%0A", "x" * 64, "%ff", "1a"])
def test_a_name_that_could_be_none_gets_no_further(client: TestClient, name: str):
    """PostgreSQL would not even look for one with a NUL."""
    answer = client.post(f"/v1/{name}", json={"text": "a"})

    assert (answer.status_code, answer.json()["problems"][0]["where"]) == (422, "path.name")


def test_what_is_not_there_and_what_cannot_be_done_are_problems_too(client: TestClient):
    nowhere, not_allowed = client.get("/nowhere"), client.delete("/v1/bikes")

    assert (nowhere.status_code, nowhere.json()["title"]) == (404, "Not Found")
    assert (not_allowed.status_code, not_allowed.headers["allow"]) == (405, "POST")
    for answer in (nowhere, not_allowed):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


def test_who_hangs_up_is_no_error_of_ours(client: TestClient):
    """It would be raised here, and logged with a traceback in production."""
    assert client.get("/gone").status_code == 400


@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_request_is_read_no_further_than_it_may_be_long(client: TestClient, in_chunks: bool):
    content = (b" " * 100 for _ in range(11)) if in_chunks else b" " * 1_100

    answer = client.post("/v1/bikes", content=content, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["status"]) == (413, 413)
    assert "1000 bytes" in answer.json()["detail"]


def test_the_document_says_that_refusals_are_problems(client: TestClient):
    document = client.get("/openapi.json").json()

    responses = document["paths"]["/v1/{name}"]["post"]["responses"]
    for status in ("404", "422"):
        assert responses[status]["content"] == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert set(document["components"]["schemas"]["Problem"]["required"]) == {
        "type", "title", "status", "detail",
    }  # fmt: skip
    assert client.get("/openapi.json").json() == document


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


def test_every_service_has_its_documentation_without_the_network(client: TestClient):
    answer = client.get("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for tag in ("<script", "<link", "<img", "src="):
        assert tag not in answer.text
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in answer.text
    assert "RFC 9457" in answer.text


def test_the_page_says_what_the_document_says_and_nothing_in_it_is_markup():
    hostile = "<script>alert(1)</script>"
    document = {
        "info": {"title": hostile, "description": hostile},
        "paths": {
            f"/v1/{hostile}": {
                "get": {
                    "description": hostile,
                    "parameters": [
                        {
                            "name": hostile,
                            "in": "query",
                            "required": True,
                            "schema": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                            "description": hostile,
                        }
                    ],
                    "requestBody": {"content": {hostile: {"schema": {"$ref": "#/x/Thing"}}}},
                    "responses": {"204": {}, "200": {"description": hostile, "content": {}}},
                }
            }
        },
        "components": {
            "schemas": {
                hostile: {"enum": [hostile]},
                "Thing": {
                    "required": ["many"],
                    "properties": {
                        "many": {"type": "array", "items": {"type": ["string", "null"]}},
                        "one": {"const": 5, "default": 5},
                        "none": {},
                    },
                },
            }
        },
    }
    page = reference(document)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 9
    for said in ("query, required", "integer or null", "Thing", "list of string or null", "204"):
        assert said in page
    assert "(default 5)" in page
    assert "Swagger" not in page
    assert 'href="/try"' in reference(document, trying="/try")


def test_an_empty_registry_is_fine():
    assert (
        TestClient(create_app("empty", lambda: True, CollectorRegistry()))
        .get("/metrics")
        .status_code
        == 200
    )
