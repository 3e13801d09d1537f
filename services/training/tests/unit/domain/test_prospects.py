"""Full runs that habit asks for, left out where the last runs gained nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import Duration, parse_rfc3339
from millrace_training.domain.by_labels import due_by_labels
from millrace_training.domain.events import (
    Candidate,
    Cause,
    Champion,
    Dataset,
    ModelRejected,
    RetrainRequested,
    RetrainSkipped,
    RunFailed,
    RunFinished,
    Skip,
)
from millrace_training.domain.policies import Policy
from millrace_training.domain.prospects import MOST_LEFT_OUT, Stretch
from millrace_training.domain.retraining import NO_HISTORY, decide, evolve

MILL = PipelineName("mill")
NOON = parse_rfc3339("2026-03-04T12:00:00Z")
POLICY = Policy(
    pipeline=MILL,
    version=4,
    versions=frozenset({4}),
    triggers=frozenset({Trigger.VOLUME, Trigger.SCHEDULE, Trigger.UPDATE, Trigger.COMMAND}),
    schedule=None,
    cooldown=Duration(0),
    runs_per_day=1000,
    cpu_minutes_per_day=1000.0,
    first_after=100,
    train_on_last=1000,
    volume=1.0,
)


def cause(trigger):
    return Cause(trigger, "id", NOON, trigger.value, "so it is")


def asked(history, trigger, labelled=1000):
    decision = decide(POLICY, history, cause(trigger), labelled)
    return decision, evolve(history, decision)


def ended(history, run, better, champion=1):
    metrics = {"mae": 1.0} if champion else {}
    candidate = Candidate(
        "xgboost", "{}", "uri", "sha", b"", "", 80, 20, {"mae": 1.0}, metrics, champion, better, b"", 1.0, 2.0
    )  # fmt: skip
    return evolve(history, RunFinished(run, Dataset("u", "s", 1, 9, 0, 0, NOON, NOON), candidate))


def run_of(history, trigger, better, champion=1, labelled=1000):
    decision, history = asked(history, trigger, labelled)
    assert isinstance(decision, RetrainRequested)
    return ended(history, decision.run, better, champion)


def begun():
    """A first model, that there was none to compare with, is the champion."""
    history = run_of(replace(NO_HISTORY, clock=NOON), Trigger.COMMAND, 0.0, champion=0)
    champion = Champion(ModelVersionNumber(1), 1, 4, "uri", "sha")
    return replace(history, champion=champion)


def left_out(history, trigger=Trigger.VOLUME):
    """How many are, until one is asked for."""
    for count in range(100):
        decision, history = asked(history, trigger)
        if isinstance(decision, RetrainRequested):
            return count, ended(history, decision.run, better=0.2)
        assert decision.reason is Skip.UNPROMISING
        assert decision.pipeline_version == 4
    raise AssertionError("for ever")


def test_as_long_as_nothing_was_compared_nothing_is_left_out():
    assert left_out(begun())[0] == 0


def test_after_runs_that_were_better_nothing_is_left_out():
    history = run_of(begun(), Trigger.VOLUME, 0.9)
    for better in (0.3, 0.8):
        history = run_of(history, Trigger.UPDATE, better)
    assert history.stretch.measured == 3
    assert left_out(history)[0] == 0


def test_the_more_stretches_gain_nothing_the_longer_the_next_full_run_is_put_off():
    history, found = run_of(begun(), Trigger.VOLUME, 0.2), []
    for _ in range(5):
        count, history = left_out(history)
        found.append(count)
    assert found == [1, 3, 7, MOST_LEFT_OUT, MOST_LEFT_OUT]


def test_a_schedule_is_put_off_too_and_a_person_is_not():
    history = run_of(begun(), Trigger.SCHEDULE, 0.2)
    assert left_out(history, Trigger.SCHEDULE)[0] == 1
    assert left_out(history, Trigger.COMMAND)[0] == 0


def test_the_refusal_says_why_with_the_numbers():
    history = run_of(begun(), Trigger.VOLUME, 0.2)
    history = run_of(history, Trigger.UPDATE, 0.4)
    decision, _ = asked(history, Trigger.VOLUME)
    assert decision.detail == (
        "so it is; the last 2 runs were better than the champion with probability 0.3 on average, so 1 full runs are left "
        "out before the next; this is number 1"
    )


def test_an_update_that_is_better_ends_the_waiting():
    history = run_of(begun(), Trigger.VOLUME, 0.4)
    assert left_out(history)[0] == 1
    assert left_out(run_of(history, Trigger.UPDATE, 0.9))[0] == 0


@pytest.mark.parametrize("trigger", [Trigger.DRIFT, Trigger.PERFORMANCE])
def test_who_says_that_something_has_changed_ends_it_even_where_nobody_listens(trigger):
    history = run_of(begun(), Trigger.VOLUME, 0.2)
    decision, after = asked(history, trigger)
    assert decision.reason is Skip.NOT_A_TRIGGER
    assert left_out(history)[0] == 1
    assert left_out(after)[0] == 0


def test_a_candidate_that_its_gates_stopped_gained_nothing():
    history = run_of(begun(), Trigger.VOLUME, 0.9)
    assert not history.stretch.gains_nothing
    refused = evolve(history, ModelRejected(MILL, history.tried.run_id))
    assert refused.stretch.gains_nothing


def test_a_run_that_failed_says_nothing():
    decision, history = asked(begun(), Trigger.VOLUME)
    assert evolve(history, RunFailed(decision.run, "", 1.0)).stretch == Stretch()


def test_one_that_is_left_out_is_due_after_as_many_labels_again():
    history = run_of(begun(), Trigger.VOLUME, 0.2, labelled=2000)
    assert due_by_labels(POLICY, history) == (Trigger.VOLUME, 3000)
    decision, history = asked(history, Trigger.VOLUME, 3004)
    assert isinstance(decision, RetrainSkipped)
    assert due_by_labels(POLICY, history) == (Trigger.VOLUME, 4004)
    assert history.learnt == 2000  # an update still counts from what was learnt


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_never_are_more_left_out_than_the_most(probabilities):
    history = begun()
    for better in probabilities:
        count, history = left_out(history)
        assert count <= MOST_LEFT_OUT
        history = run_of(history, Trigger.UPDATE, better)


def test_runs_that_were_as_likely_better_as_worse_gained_nothing():
    assert Stretch(measured=2, probability=1.0).gains_nothing
    assert not Stretch(measured=2, probability=1.01).gains_nothing
    assert not Stretch().gains_nothing


def test_a_run_beside_a_champion_that_could_not_be_measured_says_nothing_of_gains():
    """It has a version, and no metrics: the probability is 0 because nothing is known."""
    decision, history = asked(begun(), Trigger.COMMAND)
    candidate = Candidate(
        "xgboost", "{}", "uri", "sha", b"", "", 80, 20, {"mae": 1.0}, {}, 1, 0.0, b"", 1.0, 2.0
    )  # fmt: skip
    dataset = Dataset("u", "s", 1, 9, 0, 0, NOON, NOON)
    assert evolve(history, RunFinished(decision.run, dataset, candidate)).stretch == Stretch()
