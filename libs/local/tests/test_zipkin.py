"""A real Zipkin: takes a span and gives it back."""

import http.client
import json
from pathlib import Path

import pytest

from millrace_local.install import zipkin_jar
from millrace_local.ports import free_port
from millrace_local.probes import wait_until
from millrace_local.process import start
from millrace_local.zipkin import LocalZipkin

SPAN = {
    "traceId": "5af7183fb1d4cf5f",
    "id": "5af7183fb1d4cf5f",
    "name": "send",
    "timestamp": 1_700_000_000_000_000,
}


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.broker
def test_a_span_can_be_read_back(tmp_path: Path):
    server = LocalZipkin(port=free_port(), jar=zipkin_jar())

    with start(server, tmp_path / "log"):
        assert ask(server.port, "POST", "/api/v2/spans", json.dumps([SPAN]))[0] == 202
        assert wait_until(
            lambda: ask(server.port, "GET", "/api/v2/trace/5af7183fb1d4cf5f")[0] == 200, 5
        )
        assert "<html" in ask(server.port, "GET", "/zipkin/")[1].lower()
