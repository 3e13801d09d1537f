"""What holds for every history of causes, runs and news."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import DAY, HOUR, Duration, Instant, parse_rfc3339
from millrace_training.domain.events import (
    Candidate,
    Cause,
    Champion,
    Dataset,
    DriftCleared,
    ModelPromoted,
    PausePipeline,
    RetrainRequested,
    RetrainSkipped,
    RunFailed,
    RunFinished,
    RunSkipped,
    Skip,
)
from millrace_training.domain.policies import Policy
from millrace_training.domain.retraining import (
    NO_HISTORY,
    decide,
    evolve,
    honoured,
    pass_time,
)

BIKES = PipelineName("bikes")
NOON = parse_rfc3339("2026-03-04T12:00:00Z")
ENOUGH = 1000
POLICY = Policy(
    pipeline=BIKES,
    version=1,
    versions=frozenset({1}),
    triggers=frozenset(Trigger),
    schedule=None,
    cooldown=HOUR,
    runs_per_day=24,
    cpu_minutes_per_day=60.0,
    first_after=100,
)


steps = st.lists(
    st.tuples(
        st.sampled_from(list(Trigger)),
        st.integers(0, 9 * HOUR),
        st.sampled_from(["finished", "failed", "skipped", "going on"]),
        st.sampled_from(["", "promoted", "paused", "goes on", "cleared"]),
    ),
    max_size=40,
)
policies = st.builds(
    replace,
    st.just(POLICY),
    cooldown=st.integers(0, 12 * HOUR).map(Duration),
    runs_per_day=st.integers(0, 4),
    cpu_minutes_per_day=st.sampled_from([0.0, 1.0, 60.0]),
)


def hourly(_schedule: str, after: Instant) -> Instant:
    return Instant((after // HOUR + 1) * HOUR)


def play(policy: Policy, script) -> list:
    """Each step: time passes, something asks, what was put off is looked at, perhaps a run ends, perhaps news come."""
    history, said, epoch = replace(NO_HISTORY, clock=NOON), [], 0
    for index, (trigger, passed, ending, news) in enumerate(script):
        history, _ = pass_time(policy, history, Instant(history.clock + passed), hourly)
        asking = [
            Cause(trigger, f"cause-{index}", history.clock, f"subject-{index % 3}", "temp moved")
        ]
        if put_off := honoured(policy, history):
            asking.insert(0, put_off)
        for one in asking:
            decision = decide(policy, history, one, ENOUGH)
            said.append((decision, history))
            history = evolve(history, decision)
        if history.going and ending != "going on":
            run = newest_run(said)
            history = evolve(history, end_of(run, ending))
        if news:
            epoch += 1
            history = evolve(history, news_of(news, epoch))
    return said


def newest_run(said):
    return next(
        decision.run for decision, _ in reversed(said) if isinstance(decision, RetrainRequested)
    )


def end_of(run, ending):
    match ending:
        case "finished":
            candidate = Candidate(
                "linear", "{}", "uri", "sha", b"", "", 80, 20, {}, {}, 0, 0.0, b"", 1.0, 30.0
            )
            dataset = Dataset("uri", "sha", 1, 100, 0, 0, Instant(0), NOON)
            return RunFinished(run, dataset, candidate)
        case "failed":
            return RunFailed(run, "crashed", cpu_seconds=30.0)
        case _:
            return RunSkipped(run, 1, 20)


def news_of(news, epoch):
    match news:
        case "promoted":
            return ModelPromoted(BIKES, Champion(ModelVersionNumber(epoch), epoch, 1, "uri", "sha"))
        case "cleared":
            return DriftCleared(BIKES, "subject-1", NOON)
        case _:
            return PausePipeline(BIKES, paused=news == "paused")


def requests(said):
    return [decision for decision, _ in said if isinstance(decision, RetrainRequested)]


@given(policies, steps)
def test_nothing_but_a_command_or_a_first_model_comes_within_the_cooldown_of_the_run_before(
    policy, script
):
    """An update neither waits nor makes others wait."""
    asked = [request.run for request in requests(play(policy, script))]
    runs = [run for run in asked if run.trigger is not Trigger.UPDATE]

    for earlier, later in pairwise(runs):
        if later.trigger not in (Trigger.COMMAND, Trigger.FIRST):
            assert later.as_of - earlier.as_of >= policy.cooldown


@given(policies, steps)
def test_only_a_command_exceeds_the_runs_of_a_day(policy, script):
    runs = [request.run for request in requests(play(policy, script))]

    for index, run in enumerate(runs):
        same_day = sum(other.as_of // DAY == run.as_of // DAY for other in runs[: index + 1])
        assert run.trigger is Trigger.COMMAND or same_day <= policy.runs_per_day


@given(policies, steps)
def test_runs_are_numbered_one_by_one_and_never_overlap(policy, script):
    said = play(policy, script)

    assert [request.run.number for request in requests(said)] == list(
        range(1, len(requests(said)) + 1)
    )
    assert all(
        history.going is None
        for decision, history in said
        if isinstance(decision, RetrainRequested)
    )


@given(policies, steps)
def test_a_drift_is_never_lost_in_a_cooldown(policy, script):
    """At every moment each drift that was skipped for a passing reason is pending, answered, or over."""
    said = play(policy, script)
    for decision, history in said:
        if isinstance(decision, RetrainSkipped) and decision.cause.trigger is Trigger.DRIFT:
            kept = decision.cause in evolve(history, decision).pending
            assert kept == (decision.reason in (Skip.COOLING_DOWN, Skip.BUDGET_SPENT, Skip.PAUSED))


@given(policies, steps)
def test_every_decision_says_why_in_words_with_numbers_or_names(policy, script):
    assert all(
        decision.detail.startswith(decision.cause.because) for decision, _ in play(policy, script)
    )


@given(policies, steps)
def test_the_same_events_end_in_the_same_decisions(policy, script):
    assert play(policy, script) == play(policy, script)
