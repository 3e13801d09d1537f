"""`get costs` and `get card`, against services that answer over real HTTP."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from millrace.cli import main

COSTS = {
    "pipeline": "bikes",
    "runs": 4,
    "promotions": 2,
    "cpu_seconds": 120.5,
    "wall_seconds": 90.0,
    "peak_memory_bytes": 412090368,
    "joules": None,
    "money": 0.0125,
    "currency": "EUR",
    "points": 7.5,
    "cpu_seconds_per_promotion": 60.25,
    "money_per_promotion": 0.00625,
    "cpu_seconds_per_point": 16.07,
    "money_per_point": 0.001667,
}
CARD = {
    "text/markdown": "# Model card\n\n| a | [b] |\n| --- | --- |\n| \x1b[31mred | 1 |",
    "text/html": "<!doctype html><h1>Model card</h1>",
    "application/json": json.dumps({"rows": 60}),
}
PATHS = {
    "/v1/pipelines": [{"name": "bikes"}],
    "/v1/pipelines/bikes": {"pipeline": {"champion": 3}},
    "/v1/pipelines/new": {"pipeline": {"champion": None}},
    "/v1/pipelines/bikes/costs": COSTS,
}


class Services(BaseHTTPRequestHandler):
    """Registry and training at once."""

    def do_GET(self):
        if self.path == "/v1/models/bikes/versions/3/card":
            self.answer(200, CARD[self.headers["accept"]])
        elif self.path in PATHS:
            self.answer(200, json.dumps(PATHS[self.path]))
        else:
            self.answer(404, json.dumps({"detail": f"nothing at {self.path}"}))

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): ...


@pytest.fixture(autouse=True)
def services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Services)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    for name in ("REGISTRY", "TRAINING"):
        monkeypatch.setenv(f"{name}_URL", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()
    thread.join()


def test_costs_are_listed_for_every_pipeline(capsys):
    assert main(["get", "costs"]) == 0

    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["pipeline", "runs", "promoted"]
    assert row.split()[:3] == ["bikes", "4", "2"]
    assert " - " in row, "joules that nobody knows are not zero"
    assert "EUR" in row


def test_costs_as_json_are_what_training_says(capsys):
    assert main(["get", "costs", "bikes", "-o", "json"]) == 0

    assert json.loads(capsys.readouterr().out) == [COSTS]


@pytest.mark.parametrize("version", [["3"], []])
def test_a_card_is_shown_as_text_of_the_champion_by_default(capsys, version):
    assert main(["get", "card", "bikes", *version]) == 0

    said = capsys.readouterr().out
    assert "# Model card" in said
    assert "| a | [b] |" in said
    assert "\x1b" not in said, "a card moves no cursor"


def test_the_figures_of_a_card_are_json(capsys):
    assert main(["get", "card", "bikes", "3", "-o", "json"]) == 0

    assert json.loads(capsys.readouterr().out) == {"rows": 60}


@pytest.mark.parametrize(("name", "form"), [("c.html", "text/html"), ("c.md", "text/markdown")])
def test_a_card_is_written_in_the_form_of_the_file(tmp_path, name, form):
    assert main(["get", "card", "bikes", "--save", str(tmp_path / name)]) == 0

    assert (tmp_path / name).read_text() == CARD[form]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["card"], 2, "whose card?"),
        (["card", "new"], 1, "new has no champion yet"),
        (
            ["card", "bikes", "7"],
            1,
            "registry refuses: nothing at /v1/models/bikes/versions/7/card",
        ),
        (["models", "bikes", "3"], 2, "are for `millrace get card`"),
        (["card", "bikes", "--save", "/nowhere/c.md"], 2, "/nowhere/c.md can't be written"),
        (["costs", "new"], 1, "training refuses"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(capsys, arguments, code, told):
    assert main(["get", *arguments]) == code

    assert told in capsys.readouterr().err
