"""What holds for every order in which runs are asked for and taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.ids import PipelineName, RunId
from millrace_kernel.pipeline import Trigger
from millrace_training.domain.queue import (
    MOST_PASSED,
    PATIENCE,
    RANKS,
    Traffic,
    Waiting,
    next_runs,
    passed,
)


def run(
    number: int, trigger: Trigger = Trigger.DRIFT, pipeline: str = "", *, cut_off: bool = False
):
    name = PipelineName(pipeline or f"p{number}")
    return Waiting(RunId(f"run-{number}"), name, trigger, number, cut_off)


triggers = st.sampled_from(list(Trigger))
# how many are asked for before each time that one is taken, and which ones
arrivals = st.lists(st.lists(st.tuples(triggers, st.integers(0, 5)), max_size=4), max_size=120)
costs = st.lists(st.floats(0, 1e6), min_size=6, max_size=6)


def played(arrivals, costs, room=1):
    """Every taking: what waited, what had been taken before, what was taken."""
    waiting, taken, number = [], [], 0
    spent: dict[PipelineName, float] = {}
    for batch in arrivals:
        for trigger, pipeline in batch:
            number += 1
            waiting.append(run(number, trigger, f"p{pipeline}"))
        chosen = next_runs(waiting, Traffic(list(taken), dict(spent)), room)
        yield list(waiting), list(taken), chosen
        for one in chosen:
            waiting.remove(one)
            taken.append(one.number)
            cost = costs[int(one.pipeline[1:])]
            spent[one.pipeline] = spent.get(one.pipeline, 0.0) + cost


@given(arrivals, costs, st.integers(0, 5))
def test_nothing_waits_while_there_is_room_and_nothing_goes_on_without(arrivals, costs, room):
    for waiting, _, chosen in played(arrivals, costs, room):
        assert len(chosen) == min(room, len(waiting))
        assert len(set(chosen)) == len(chosen)
        assert set(chosen) <= set(waiting)


@given(arrivals, costs)
def test_nobody_goes_before_one_that_has_been_passed_often_enough(arrivals, costs):
    given_up: dict[
        int, int
    ] = {}  # a run that waits -> the newest number when it had been passed that often
    newest = 0
    for waiting, taken, chosen in played(arrivals, costs):
        newest = max([newest, *(one.number for one in waiting)])
        for one in chosen:
            for other in waiting:
                limit = given_up.get(other.number)
                assert other is one or limit is None or one.number <= limit
        after = sorted([*taken, *(one.number for one in chosen)])
        for other in waiting:
            if passed(other.number, after) >= MOST_PASSED:
                given_up.setdefault(other.number, newest)


@given(triggers)
def test_an_endless_stream_of_commands_lets_everything_else_through(trigger):
    patient, taken = run(0, trigger, "patient"), []
    for newest in range(1, MOST_PASSED + 2):
        spent = {PipelineName("patient"): 1e9}
        [first] = next_runs([patient, run(newest, Trigger.COMMAND)], Traffic(taken, spent), 1)
        if first is patient:
            break
        taken.append(first.number)
    else:
        pytest.fail(f"still waiting after {MOST_PASSED} commands")
    assert len(taken) >= PATIENCE * RANKS[trigger]


@given(arrivals, costs, st.randoms())
def test_the_order_in_which_they_are_looked_at_does_not_matter(arrivals, costs, random):
    for waiting, taken, chosen in played(arrivals, costs):
        shuffled = list(waiting)
        random.shuffle(shuffled)
        spent: dict[PipelineName, float] = {}
        alone = next_runs(waiting, Traffic(taken, spent), 1)
        assert next_runs(shuffled, Traffic(taken, spent), 1) == alone
        assert len(chosen) == len(alone)


@given(st.lists(st.tuples(triggers, st.booleans()), min_size=1, max_size=20))
def test_the_urgent_go_first(wanted):
    waiting = [run(number, trigger) for number, (trigger, _) in enumerate(wanted)]

    [first] = next_runs(waiting, Traffic(), 1)

    assert RANKS[first.trigger] == min(RANKS[trigger] for trigger, _ in wanted)


@given(st.floats(1, 1000), st.floats(1, 1000))
def test_two_pipelines_that_always_wait_get_equal_shares_of_the_processor(one, other):
    """Up to one run's cost, and what patience lets through."""
    costs = {"a": one, "b": other}
    spent: dict[PipelineName, float] = {PipelineName("a"): 0.0, PipelineName("b"): 0.0}
    waiting = {name: run(number, Trigger.DRIFT, name) for number, name in enumerate(costs)}
    taken, number = [], len(waiting)
    for _ in range(200):
        [first] = next_runs(waiting.values(), Traffic(taken, spent), 1)
        taken.append(first.number)
        spent[first.pipeline] += costs[first.pipeline]
        number += 1
        waiting[first.pipeline] = run(number, Trigger.DRIFT, first.pipeline)
    dear, cheap = max(costs.values()), min(costs.values())
    if dear <= cheap * PATIENCE:
        assert abs(spent["a"] - spent["b"]) <= dear + cheap
    turns = {name: round(spent[PipelineName(name)] / cost) for name, cost in costs.items()}
    assert min(turns.values()) >= 200 // (2 * PATIENCE + 2)


def test_a_pipeline_that_cost_less_lately_goes_before_one_that_asked_first():
    waiting = [run(1, pipeline="dear"), run(2, pipeline="cheap")]
    traffic = Traffic(spent={PipelineName("dear"): 10.0, PipelineName("cheap"): 1.0})

    assert [one.pipeline for one in next_runs(waiting, traffic, 2)] == ["cheap", "dear"]


def test_what_was_cut_off_goes_on_before_anything_else():
    waiting = [run(1, Trigger.COMMAND), run(2, Trigger.UPDATE, cut_off=True)]

    assert next_runs(waiting, Traffic(), 1) == [waiting[1]]


def test_every_trigger_has_a_rank():
    assert RANKS.keys() == set(Trigger)
