"""Figures, goals, hops and the picture: from values, without a broker."""

from pathlib import Path

import pytest
from benchmarks.stream.figures import (
    Json,
    Throughput,
    different,
    percentile,
    ratios,
    reached,
    spread,
    summary,
)
from benchmarks.stream.hops import hops
from benchmarks.stream.plot import draw


def sample(cpu: float, seconds: float = 2.0, answers: dict[str, float] | None = None) -> Throughput:
    return Throughput(1_000, seconds, {"one": cpu, "two": cpu}, 0.5, answers or {})


def test_the_rate_per_core_used_follows_from_the_processor_time_of_all_processes():
    made = sample(0.05)
    assert made.cpu_us_per_event == pytest.approx(100.0)
    found = summary([made, sample(0.1), sample(0.2)])
    assert found["events_per_cpu_second"]["median"] == 5_000
    assert found["cpu_us_per_event_by_process"] == {"one": 100.0, "two": 100.0}


def test_ratios_are_taken_within_a_round():
    found = ratios([sample(0.1), sample(0.4)], [sample(0.2), sample(0.4)])
    assert found["per_core_used"] == {"median": 1.5, "least": 1.0, "most": 2.0}


def test_percentiles_are_nearest_ranks():
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_answers_that_differ_are_counted_among_those_in_common():
    assert different({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 2.5}) == 0.5
    with pytest.raises(ValueError, match="no answers in common"):
        different({"a": 1.0}, {"b": 1.0})


def result_with(rate: float, p50: float) -> Json:
    cores = {name: {"events_per_second": spread([rate]), "events_per_cpu_second": spread([rate])}
             for name in ("one_core", "two_cores")}  # fmt: skip
    ours = {"title": "Ours", **cores, "p50_ms": spread([p50]), "p99_ms": spread([2 * p50])}
    return {
        "rate": 1_000.0,
        "contenders": {"ours": ours, "theirs": {"title": "Theirs", "one_core": cores["one_core"]}},
        "millrace_times": {"theirs": {"per_core_used": spread([1.5])}},
    }


GOALS = {"theirs_per_core_used": 2.0, "two_cores_times_one": 1.0, "p50_ms": 10.0, "p99_ms": 25.0}


def test_more_is_better_for_rates_and_less_for_times():
    found = reached(result_with(100.0, 11.0), GOALS, "ours")
    assert {name: said["is_reached"] for name, said in found.items()} == {
        "theirs_per_core_used": False,
        "two_cores_times_one": True,
        "p50_ms": False,
        "p99_ms": True,
    }


def test_what_was_not_measured_is_not_said():
    result = result_with(100.0, 5.0)
    del result["contenders"]["ours"]["two_cores"], result["contenders"]["ours"]["p50_ms"]
    assert set(reached(result, GOALS, "ours")) == {"theirs_per_core_used", "p99_ms"}


def test_hops_are_matched_by_the_raw_records_place():
    times = {
        "raw": {b"raw/0/0": 0, b"raw/0/1": 10, b"raw/0/2": 20},
        "events": {b"raw/0/1": 13, b"raw/0/2": 25, b"raw/0/0": 900},
        "answers": {b"raw/0/2": 26, b"raw/0/1": 15, b"raw/9/9": 5},
    }
    found = hops(times, skip=1)
    assert found["raw -> events"] == {"p10_ms": 3, "p50_ms": 3, "p90_ms": 5, "p99_ms": 5}
    assert found["events -> answers"]["p99_ms"] == 2


def test_the_picture_is_the_same_for_the_same_figures(tmp_path: Path):
    for name in ("one.svg", "two.svg"):
        draw(result_with(100.0, 5.0), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert b"Theirs" in (tmp_path / "one.svg").read_bytes()
