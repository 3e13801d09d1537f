"""What every service makes of the settings that all share."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from millrace_service.settings import PlatformSettings
from millrace_telemetry.exporting import Exporter
from millrace_telemetry.tracing import finish


class Zipkin(HTTPServer):
    """What is sent to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.spans = []


class Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.spans += json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_) -> None:
        """Silent."""


@pytest.fixture
def zipkin():
    with Zipkin() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_database_is_the_services_own_else_that_of_all_else_a_file_of_its_own(tmp_path):
    alone = PlatformSettings(millrace_home=tmp_path, database_url=None)
    shared = PlatformSettings(millrace_home=tmp_path, database_url="postgresql://all")

    assert shared.database_of("training", "postgresql://training") == "postgresql://training"
    assert shared.database_of("training", None) == "postgresql://all"
    assert alone.database_of("training", None) == f"sqlite:///{tmp_path}/training/training.db"
    assert alone.database_of("registry", None) == f"sqlite:///{tmp_path}/registry/registry.db"


def test_each_instance_has_a_state_folder_of_its_own(tmp_path):
    alone = PlatformSettings(millrace_home=tmp_path, millrace_instance="")
    second = PlatformSettings(millrace_home=tmp_path, millrace_instance="second")

    assert alone.state_of("features", None) == tmp_path / "features"
    assert second.state_of("features", None) == tmp_path / "features" / "second"
    assert second.state_of("features", Path("/fast")) == Path("/fast/second")


def test_spans_go_where_the_settings_say_under_the_services_name(zipkin):
    settings = PlatformSettings(
        otel_traces_exporter=Exporter.ZIPKIN,
        otel_exporter_zipkin_endpoint=f"http://127.0.0.1:{zipkin.server_port}/api/v2/spans",
    )
    tracing = settings.tracing("features")

    finish(tracing.work("something", f"00-{1:032x}-{1:016x}-01"), None)
    tracing.flush()

    [span] = zipkin.spans
    assert (span["name"], span["localEndpoint"]["serviceName"]) == ("something", "features")
