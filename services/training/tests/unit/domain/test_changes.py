"""Where the last change began, as far as it has been told of."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import HOUR, Duration, Instant, parse_rfc3339
from millrace_training.domain.changes import Change, change_to_learn_from, with_news
from millrace_training.domain.events import Cause, RunFailed, Skip
from millrace_training.domain.policies import Policy
from millrace_training.domain.retraining import NO_HISTORY, decide, evolve

NOON = parse_rfc3339("2026-03-04T12:00:00Z")
POLICY = Policy(
    pipeline=PipelineName("mill"),
    version=3,
    versions=frozenset({3}),
    triggers=frozenset({Trigger.DRIFT, Trigger.VOLUME}),
    schedule=None,
    cooldown=Duration(0),
    runs_per_day=1000,
    cpu_minutes_per_day=1000.0,
    first_after=100,
)


def at(hours: float) -> Instant:
    return Instant(NOON + int(hours * HOUR))


def drift(since: float | None, heard: float, trigger=Trigger.DRIFT) -> Cause:
    began = None if since is None else at(since)
    return Cause(trigger, f"drift-{heard}", at(heard), "concept", "so it is", began)


def told(history, cause):
    history = replace(history, clock=max(history.clock, cause.at))
    decision = decide(POLICY, history, cause, 1000)
    return decision, evolve(history, decision)


def test_a_drift_says_since_when_whether_a_run_is_asked_for_or_not():
    _, asked = told(NO_HISTORY, drift(since=-2, heard=0))
    assert asked.change == Change(at(-2), at(0))
    decision, refused = told(NO_HISTORY, drift(-2, 0, Trigger.PERFORMANCE))
    assert decision.reason is Skip.NOT_A_TRIGGER
    assert refused.change == asked.change


def test_what_is_told_again_before_a_run_does_not_move_where_the_change_began():
    known = with_news(None, drift(-2, 0), None)
    assert with_news(known, drift(1, 2), None) == known
    assert with_news(known, drift(-3, 2), None) == Change(at(-3), at(2))
    assert with_news(known, drift(None, 2), None) == known


def test_after_a_full_run_the_next_drift_is_another():
    decision, history = told(NO_HISTORY, drift(-2, 0))
    history = evolve(history, RunFailed(decision.run, "", 0.0))
    assert history.change == Change(at(-2), at(0))  # what came since still is what counts
    _, history = told(history, drift(4, 5))
    assert history.change == Change(at(4), at(5))


def test_an_update_learns_what_is_newest_anyway():
    change = Change(at(-2), at(0))
    assert change_to_learn_from(change, Trigger.VOLUME, {Trigger.VOLUME}) == at(-2)
    assert change_to_learn_from(change, Trigger.UPDATE, {Trigger.VOLUME}) is None
    assert change_to_learn_from(None, Trigger.DRIFT, ()) is None


@given(st.lists(st.integers(-50, 50), min_size=1))
def test_of_all_that_is_told_before_a_run_the_first_counts(beginnings):
    change = None
    for heard, since in enumerate(beginnings):
        change = with_news(change, drift(since, 100 + heard), at(0))
    assert change is not None
    assert change.since == at(min(beginnings))
