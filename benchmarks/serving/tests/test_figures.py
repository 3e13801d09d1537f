"""The arithmetic of the serving benchmark."""

import json

import pytest
from benchmarks.serving.figures import (
    Load,
    Paced,
    Sample,
    Turn,
    contender_figures,
    goals,
    percentile,
    ratios,
    spread,
)
from benchmarks.serving.rounds import Answers
from hypothesis import given, settings
from hypothesis import strategies as st


def sample(rate: float, cpu_us: float, errors: int = 0, broker_us: float = 0.0) -> Sample:
    seconds = 2.0
    requests = int(rate * seconds)
    load = Load(seconds, requests, errors, 1.0, 2.0)
    return Sample(load, requests * cpu_us / 1e6, requests * broker_us / 1e6)


def turn(rate: float, cpu_us: float, p99: float | None = None) -> Turn:
    half = None if p99 is None else Paced(rate / 2, Load(1.0, 10, 0, 1.0, p99))
    return Turn({1: sample(rate / 2, cpu_us * 1.5), 16: sample(rate, cpu_us)}, half)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 5.0), (0.99, 10.0), (0.9, 9.0), (0.01, 1.0), (1.0, 10.0)]
)
def test_a_percentile_is_the_nearest_rank(share, expected):
    assert percentile([float(number) for number in range(1, 11)], share) == expected


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_exceeded_by_no_more_than_the_rest(values, share):
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert sum(value > found for value in ordered) <= (1 - share) * len(ordered) + 1e-6
    assert found in ordered


def test_a_sample_is_per_second_and_per_request():
    one = Sample(Load(4.0, 2_000, 0, 1.0, 2.0), 0.5, 0.1)

    assert one.requests_per_second == 500
    assert one.cpu_us_per_request == pytest.approx(250)
    assert one.broker_cpu_us_per_request == pytest.approx(50)


def test_ratios_are_taken_within_a_round_so_that_a_slow_round_does_not_count():
    fast, slow = 1.0, 3.0
    turns = {
        "a": [turn(1000 / pace, 40 * pace) for pace in (fast, slow)],
        "b": [turn(4000 / pace, 10 * pace) for pace in (fast, slow)],
    }

    assert ratios(turns, "a", "b", 16, "cpu_us_per_request") == pytest.approx([4.0, 4.0])
    assert ratios(turns, "b", "a", 16, "requests_per_second") == pytest.approx([4.0, 4.0], rel=0.01)
    assert ratios(turns, "a", "absent", 16, "requests_per_second") == []


def test_a_spread_has_the_median_and_the_ends():
    assert spread([3.0, 1.0, 10.0]) == {"median": 3.0, "least": 1.0, "most": 10.0}


def test_the_figures_of_a_contender_are_medians_beside_their_spreads():
    turns = {
        "floor": [turn(4000, 10.0), turn(4000, 10.0), turn(4000, 10.0)],
        "millrace": [turn(1000, 30.0, 2.0), turn(1100, 40.0, 2.5), turn(900, 50.0, 9.0)],
    }

    found = contender_figures(turns, "millrace", "rest")

    at_16 = found["concurrency"]["16"]
    assert at_16["requests_per_second"] == 1000
    assert at_16["cpu_us_per_request"] == pytest.approx(40)
    assert at_16["cpu_vs_floor"] == pytest.approx(4.0)
    assert at_16["spread"]["cpu_vs_floor"] == pytest.approx(
        {"median": 4.0, "least": 3.0, "most": 5.0}
    )
    assert found["half_rate"]["requests_per_second"] == 500
    assert found["half_rate"]["p99_vs_p50"]["median"] == 2.5
    assert "broker_cpu_us_per_request" not in at_16
    json.dumps(found)


def test_without_a_floor_nothing_is_compared_with_it():
    found = contender_figures({"millrace": [turn(1000, 30.0)]}, "millrace", "rest")

    assert found["concurrency"]["16"]["cpu_vs_floor"] is None
    assert found["half_rate"] is None


def test_errors_and_the_brokers_time_are_told():
    each = Turn({1: sample(1000, 30.0, errors=2, broker_us=7.0)})

    found = contender_figures({"millrace": [each, each]}, "millrace", "rest")["concurrency"]["1"]

    assert found["errors"] == 4
    assert found["broker_cpu_us_per_request"] == pytest.approx(7.0)


def all_turns(**changed: Turn) -> dict[str, list[Turn]]:
    """Every goal just met."""
    turns = {
        "floor": turn(40_000, 10.0),
        "millrace": turn(10_000, 40.0, 3.0),
        "mlserver": turn(1_000, 500.0),
        "floor-grpc": turn(6_000, 100.0),
        "millrace-grpc": turn(3_000, 200.0),
        "mlserver-grpc": turn(1_000, 900.0),
    }
    names = {name.replace("_", "-"): one for name, one in changed.items()}
    return {name: [one] for name, one in (turns | names).items()}


def test_goals_that_are_just_met_are_met():
    judged = goals(all_turns(), 1.0)

    assert [goal.met for goal in judged] == [True] * 6
    assert [goal.found for goal in judged] == pytest.approx([4.0, 10.0, 3.0, 2.0, 3.0, 1.0])


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        (0, {"millrace": turn(10_000, 40.5, 3.0)}),
        (1, {"millrace": turn(9_900, 40.0, 3.0)}),
        (2, {"millrace": turn(10_000, 40.0, 3.1)}),
        (3, {"millrace_grpc": turn(3_000, 201.0)}),
        (4, {"millrace_grpc": turn(2_900, 200.0)}),
    ],
)
def test_a_goal_that_is_just_missed_is_missed_and_no_other(place, changed):
    met = [goal.met for goal in goals(all_turns(**changed), 1.0)]

    assert met == [index != place for index in range(6)]


def test_a_goal_is_judged_where_it_is_worst():
    uneven = Turn({1: sample(20_000, 60.5), 16: sample(10_000, 10.0)})

    judged = goals(all_turns(millrace=uneven), None)

    assert judged[0].found == pytest.approx(60.5 / 15)
    assert judged[0].met is False


def test_an_answer_that_was_not_logged_fails():
    assert goals(all_turns(), 0.99)[5].met is False


@pytest.mark.parametrize(
    ("counts", "share"),
    [
        ((100, 100, 10, 10), 1.0),
        ((100, 164, 10, 10), 1.0),  # given up by who asked, answered and logged all the same
        ((100, 99, 10, 10), 0.99),
        ((100, 164, 10, 9), 0.9),
        ((100, 100, 0, 0), 1.0),
        ((0, 0, 0, 0), None),
    ],
)
def test_the_share_of_answers_that_were_logged(counts, share):
    assert Answers(*counts).share == share


def test_what_was_not_measured_is_neither_met_nor_missed():
    judged = goals({"floor": [turn(1.0, 1.0)]}, None)

    assert [(goal.found, goal.met) for goal in judged] == [(None, None)] * 6
