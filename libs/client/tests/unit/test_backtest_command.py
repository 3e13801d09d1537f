"""`millrace backtest`: what it prints, and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest

from millrace.cli import main

FILE = """
metadata: {name: mill}
spec:
  event: {id: id, time: at}
  fields: {x: float}
  label: {field: y, kind: regression, delay: 2h}
  model: {candidates: [linear], train_on: {last: 100, first: 60}, holdout: {last: 20}}
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    generator = np.random.default_rng(1)
    rows = ["at,x,y"]
    for hour in range(200):
        x = float(generator.normal())
        rows.append(f"2026-01-{1 + hour // 24:02d}T{hour % 24:02d}:00:00Z,{x},{3 * x}")
    (tmp_path / "data.csv").write_text("\n".join(rows))
    (tmp_path / "mill.yaml").write_text(FILE)
    return tmp_path


def test_it_prints_json_and_writes_a_page(files, capsys):
    policy = files / "never.yaml"
    policy.write_text("retraining: {on: []}")
    asked = ["backtest", str(files / "mill.yaml"), str(files / "data.csv"), "--windows", "5"]
    asked += ["--policy", str(policy), "-o", "json", "--html", str(files / "page.html")]
    assert main(asked) == 0
    first = capsys.readouterr().out
    said = json.loads(first)["policies"][0]
    named = {"name", "metric", "loop", "frozen", "every", "periodic", "adwin", "gain_captured"}
    named |= {"retrains", "promotions", "rejected", "cpu_seconds", "every_cpu_seconds", "series"}
    assert named <= said.keys()
    assert said["name"] == "never"
    assert "<svg" in (files / "page.html").read_text()
    assert "http" not in (files / "page.html").read_text()
    assert main(asked) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (["--latency", "soon"], 2),
        (["--metric", "roc_auc"], 1),
        (["--policy", "nowhere.yaml"], 2),
        (["--html", "nowhere/page.html"], 2),
        (["--html", "."], 2),
        (["--fits", __file__], 1),
        (["--windows", "150"], 1),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(files, capsys, changed, code):
    asked = ["backtest", str(files / "mill.yaml"), str(files / "data.csv"), *changed]
    assert main(asked) == code
    assert "millrace: " in capsys.readouterr().err


def test_the_command_line_starts_without_the_services():
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, millrace.cli; print([m for m in sys.modules if m.startswith('millrace_backtest')])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "[]"
