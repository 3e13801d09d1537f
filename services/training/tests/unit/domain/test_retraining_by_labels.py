"""Full runs and cheap updates as new labels come, and when an update is left out."""

from dataclasses import replace

import pytest

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import HOUR, Duration, Instant, parse_rfc3339
from millrace_training.domain.by_labels import cause_by_labels, due_by_labels
from millrace_training.domain.events import (
    Candidate,
    Cause,
    Champion,
    Dataset,
    ModelPromoted,
    RetrainRequested,
    RetrainSkipped,
    RunFailed,
    RunFinished,
    Skip,
)
from millrace_training.domain.policies import Policy
from millrace_training.domain.retraining import (
    NO_HISTORY,
    Going,
    decide,
    evolve,
)
from millrace_training.domain.updates import (
    FEWEST_NEW_ROWS,
    MOST_LEFT_OUT,
    is_in_vain,
    rows_for,
)

MILL = PipelineName("mill")
NOON = parse_rfc3339("2026-03-04T12:00:00Z")
POLICY = Policy(
    pipeline=MILL,
    version=1,
    versions=frozenset({1}),
    triggers=frozenset(Trigger),
    schedule=None,
    cooldown=Duration(0),
    runs_per_day=1000,
    cpu_minutes_per_day=1000.0,
    first_after=100,
    train_on_last=100_000,
    volume=1.0,
    update=0.1,
)


def asked(history, trigger, labelled):
    decision = decide(
        POLICY, history, Cause(trigger, "id", NOON, trigger.value, "so it is"), labelled
    )
    return decision, evolve(history, decision)


def ended(history, run, better):
    candidate = Candidate(
        "xgboost", "{}", "uri", "sha", b"", "", 80, 20, {"mae": 1.0}, {"mae": 1.0}, 1, better, b"", 1.0, 2.0
    )  # fmt: skip
    outcome = RunFinished(run, Dataset("uri", "sha", 1, 9, 0, 0, NOON, NOON), candidate)
    return outcome, evolve(history, outcome)


def settled(labelled=100):
    """A first model, asked for at so many labelled rows, answers."""
    decision, history = asked(replace(NO_HISTORY, clock=NOON), Trigger.FIRST, labelled)
    history = evolve(
        history, RunFailed(decision.run, "", 0.0)
    )  # over; what matters is the champion
    return evolve(history, ModelPromoted(MILL, Champion(ModelVersionNumber(1), 1, 1, "uri", "sha")))


def test_before_a_first_model_nothing_is_due():
    assert due_by_labels(POLICY, replace(NO_HISTORY, clock=NOON)) is None


def test_an_update_is_due_after_a_tenth_and_a_full_run_after_as_many_as_it_learns_from():
    history = settled(labelled=40_000)
    assert due_by_labels(POLICY, history) == (Trigger.UPDATE, 44_000)
    assert due_by_labels(replace(POLICY, update=None), history) == (Trigger.VOLUME, 80_000)
    assert due_by_labels(replace(POLICY, update=None, volume=None), history) is None


def test_a_run_that_learns_from_a_window_counts_in_shares_of_the_window():
    history = settled(labelled=5_000_000)
    assert due_by_labels(POLICY, history) == (Trigger.UPDATE, 5_010_000)
    assert due_by_labels(replace(POLICY, update=None), history) == (Trigger.VOLUME, 5_100_000)


def test_where_rows_are_few_updates_wait_for_some_hundreds_of_them():
    history = settled(labelled=1_000)
    assert due_by_labels(POLICY, history) == (Trigger.UPDATE, 1_000 + FEWEST_NEW_ROWS)
    young = settled(
        labelled=FEWEST_NEW_ROWS
    )  # a full run comes as soon, and does what the update would
    assert due_by_labels(POLICY, young) == (Trigger.VOLUME, 2 * FEWEST_NEW_ROWS)


def test_updates_do_not_put_off_the_full_run():
    history = settled(labelled=10_000)
    found = []
    for labelled in range(10_000, 42_000, 100):
        due = due_by_labels(POLICY, history)
        if due is not None and labelled >= due[1]:
            decision, history = asked(history, due[0], labelled)
            found.append((due[0], labelled))
            _, history = ended(history, decision.run, better=0.9)
    full = [labelled for trigger, labelled in found if trigger is Trigger.VOLUME]
    assert full == [20_000, 40_000]
    assert found[:2] == [(Trigger.UPDATE, 11_000), (Trigger.UPDATE, 12_000)]


def test_while_a_run_goes_on_nothing_is_due():
    history = replace(settled(), going=Going(7, Cause(Trigger.DRIFT, "", NOON, "", "")))
    assert due_by_labels(POLICY, history) is None


def test_a_full_run_that_cools_down_does_not_hold_up_updates():
    history = replace(settled(labelled=10_000), updated=19_500, last_requested=NOON)
    waiting = replace(POLICY, cooldown=HOUR)
    assert due_by_labels(waiting, history) == (Trigger.UPDATE, 20_500)
    later = replace(history, clock=Instant(NOON + HOUR))
    assert due_by_labels(waiting, later) == (Trigger.VOLUME, 20_000)


@pytest.mark.parametrize(
    ("in_vain", "left_out"), [(0, 0), (1, 1), (2, 3), (3, 3), (9, MOST_LEFT_OUT)]
)
def test_updates_in_vain_make_the_next_ones_rare(in_vain, left_out):
    history, skipped = replace(settled(), in_vain=in_vain), 0
    for labelled in range(110, 1000, 10):
        decision, history = asked(history, Trigger.UPDATE, labelled)
        if isinstance(decision, RetrainRequested):
            break
        assert isinstance(decision, RetrainSkipped)
        assert decision.reason is Skip.UNPROMISING
        assert f"{in_vain} updates in a row" in decision.detail
        assert history.updated == labelled  # the next one is due later
        skipped += 1
    assert skipped == left_out


def test_one_that_helps_ends_the_waiting():
    history = replace(settled(), in_vain=3, left_out=7)
    decision, history = asked(history, Trigger.UPDATE, 110)
    outcome, after = ended(history, decision.run, better=0.6)
    assert not is_in_vain(outcome)
    assert after.in_vain == 0
    outcome, after = ended(history, decision.run, better=0.01)
    assert is_in_vain(outcome)
    assert after.in_vain == 4


def test_a_full_run_begins_anew():
    history = replace(settled(), in_vain=3, left_out=2)
    decision, history = asked(history, Trigger.VOLUME, 200)
    assert (history.in_vain, history.left_out, history.learnt, history.updated) == (0, 0, 200, 200)
    outcome, _ = ended(history, decision.run, better=0.0)
    assert not is_in_vain(outcome)  # whether it is promoted is for the registry's gates to say


def test_an_update_learns_from_the_newest_rows_only():
    assert rows_for(Trigger.UPDATE, 1000) == 300
    assert rows_for(Trigger.VOLUME, 1000) == rows_for(Trigger.FIRST, 1000) == 1000


def test_the_cause_says_how_many_labels_came():
    cause = cause_by_labels(settled(labelled=400), Trigger.UPDATE, "label-9", 440)
    assert (cause.trigger, cause.id) == (Trigger.UPDATE, "label-9")
    assert cause.because == "40 labels came since the last update"
