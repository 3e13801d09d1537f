"""`millrace reproduce` on a model that the service has trained: real lake, store and database, and a process of its own."""

import json
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from millrace.cli import main
from millrace_bus.sql import Database
from millrace_testkit.eventually import eventually, running
from millrace_training.entrypoints.http import create

pytestmark = pytest.mark.timeout(900)


@dataclass
class Registered:
    """What the registry says of version 1, and the rest of the world as the command finds it."""

    model: dict
    database: Database

    def change_record(self, change) -> None:
        with self.database.transaction() as connection:
            record = json.loads(connection.execute(text("SELECT record_json FROM runs")).scalar())
            change(record)
            connection.execute(
                text("UPDATE runs SET record_json = :record"), {"record": json.dumps(record)}
            )


@pytest.fixture
async def registered(neighbours, service, quick, settings, monkeypatch):
    async with running(*service.components(quick)):
        await neighbours.apply()
        await neighbours.rows(0, 60)
        await eventually(lambda: "TrainingCompleted" in neighbours.names(), within=400)
    [(completed, _)] = await neighbours.hears("TrainingCompleted")
    model = {
        "model": {"run_id": completed.run_id},
        "artifact_sha256": completed.artifact_sha256,
        "artifact_uri": completed.artifact_uri,
        "dataset_uri": completed.dataset_uri,
        "record": json.loads(completed.record_json),
    }
    made = Registered(model, service.database)

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(made.model).encode())

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("REGISTRY_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("MILLRACE_HOME", str(settings.millrace_home))
    monkeypatch.setenv("TRAINING_DATABASE_URL", settings.training_database_url)
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_version_is_made_again_and_what_differs_is_named(registered, service, capsys):
    client = TestClient(create(service, lambda: True))
    detail = client.get("/v1/pipelines/bikes/runs/1").json()
    assert detail["record"] == registered.model["record"]
    assert detail["record"]["winner"]["algorithm"] == "linear"
    assert detail["record"]["environment"]["libraries"]["scikit-learn"]
    assert detail["dataset"]["vectors_version"] >= 1
    assert client.get("/v1/pipelines/bikes/runs/9").status_code == 404

    assert main(["reproduce", "bikes", "1", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["equal"]
    assert found["found_sha256"] == registered.model["artifact_sha256"]
    assert found["dataset"].startswith("taken again from versions")
    assert found["environment"] == []

    def otherwise(record):
        record["winner"]["parameters_json"] = '{"alpha": 1000.0}'
        record["environment"]["libraries"]["numpy"] = "1.0"

    registered.change_record(otherwise)
    lake = Path(urlsplit(registered.model["dataset_uri"]).path).parents[2] / "lake/bikes/labels"
    lake.rename(lake.with_name("gone"))
    assert main(["reproduce", "bikes", "1"]) == 1
    said = capsys.readouterr()
    lines = " ".join(said.out.split())
    assert "They differ, first in" in lines
    assert "libraries.numpy was 1.0, is" in lines
    assert "the file that was kept, since versions" in lines
    assert "was not reproduced" in said.err


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_cannot_be_tried_says_why(registered, capsys):
    registered.model["model"] = {"run_id": "unheard-of"}
    assert main(["reproduce", "bikes", "1"]) == 1
    assert "no run unheard-of that ended with an artifact" in " ".join(
        capsys.readouterr().err.split()
    )
