"""What is written and printed of a run."""

import json
from xml.etree import ElementTree

import pytest
from benchmarks.serving import plot, report
from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.figures import Load, Paced, Sample, Turn, goals
from benchmarks.serving.rounds import Answers, Plan

PLAN = Plan(rounds=2, seconds=4, warm_seconds=2, half_seconds=5)


def turn(cpu_us: float, errors: int = 0) -> Turn:
    def sample(requests: int) -> Sample:
        return Sample(Load(4.0, requests, errors, 0.5, 1.25), requests * cpu_us / 1e6)

    return Turn(
        {1: sample(4_000), 64: sample(8_000)}, Paced(1_000.0, Load(5.0, 5_000, 0, 0.4, 1.0))
    )


@pytest.fixture
def result(monkeypatch):
    # the versions of what is installed, not of what this machine may lack
    monkeypatch.setattr(report, "_TOOLS", ())
    turns = {
        "floor": [turn(50.0), turn(60.0)],
        "millrace": [turn(225.0), turn(270.0, errors=3)],
        "floor-grpc": [turn(100.0), turn(100.0)],
    }
    answers = Answers(given=100, logged=101, paced_given=10, paced_logged=10)
    return report.report(
        CONTENDERS,
        turns,
        {"ray": "ended with exit code 1\nits log"},
        answers,
        goals(turns, 1.0),
        PLAN,
    )


def test_the_file_has_every_figure_of_every_contender_that_was_measured(result):
    assert json.loads(json.dumps(result)) == result
    assert list(result["contenders"]) == ["floor", "millrace", "floor-grpc"]
    for contender in result["contenders"].values():
        for level in ("1", "64"):
            assert contender["concurrency"][level].keys() >= {
                "requests_per_second", "cpu_us_per_request", "cpu_vs_floor", "p50_ms", "p99_ms", "spread",
            }  # fmt: skip
    assert result["skipped"] == {"ray": "ended with exit code 1\nits log"}
    assert result["versions"]["mlserver"]["mlserver"] == "1.7.1"
    assert result["logged"]["given"] == 100


def test_the_table_says_what_is_met_what_is_not_and_what_was_left_out(result):
    lines = report.table(result).splitlines()

    millrace = next(line for line in lines if line.startswith("Millrace") and " 64 " in line)
    assert millrace.split()[1:] == ["64", "2,000", "247.5", "4.50", "0.500", "1.250", "3", "errors"]
    assert "ray: left out: ended with exit code 1" in lines
    assert "NOT MET" in next(line for line in lines if line.startswith("REST: CPU"))
    assert "not measured" in next(line for line in lines if line.startswith("gRPC: CPU"))
    assert next(line for line in lines if line.startswith("REST: p99")).endswith(" met")


def test_the_plot_names_every_contender_and_is_the_same_each_time(result, tmp_path):
    plot.draw(result, tmp_path / "a.svg")
    plot.draw(result, tmp_path / "b.svg")

    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    text = (tmp_path / "a.svg").read_text()
    assert all(f"<!-- {title} -->" in text for title in ("Millrace", "grpc.aio, a constant"))
