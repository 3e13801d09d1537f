"""When a pipeline is trained again, and why not."""

from dataclasses import replace

import pytest

from millrace_kernel.ids import ModelVersionNumber, PipelineName, RunId
from millrace_kernel.pipeline import Trigger
from millrace_kernel.time import DAY, HOUR, MINUTE, Duration, Instant, parse_rfc3339
from millrace_training.domain.events import (
    Candidate,
    Cause,
    Champion,
    Dataset,
    DriftCleared,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    PausePipeline,
    RetrainRequested,
    RetrainSkipped,
    RunFailed,
    RunFinished,
    RunSkipped,
    Skip,
)
from millrace_training.domain.policies import Policy, policy_of
from millrace_training.domain.retraining import (
    NO_HISTORY,
    Going,
    History,
    decide,
    evolve,
    first_cause,
    first_model_after,
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


def at(instant: int, history: History = NO_HISTORY) -> History:
    return replace(history, clock=Instant(instant))


def cause(trigger=Trigger.DRIFT, when=NOON, name="the-drift", subject="data/temp") -> Cause:
    return Cause(trigger, name, Instant(when), subject, "temp moved")


def idle(history: History) -> History:
    return replace(history, going=None)


def after_a_run_asked_for_at(when: int) -> History:
    return idle(evolve(at(when), decide(POLICY, at(when), cause(when=when), ENOUGH)))


def finished(number=1, cpu_seconds=10.0) -> RunFinished:
    candidate = Candidate(
        "linear", "{}", "uri", "sha", b"", "", 80, 20, {}, {}, 0, 0.0, b"", 1.0, cpu_seconds
    )
    dataset = Dataset("uri", "sha", 1, 100, 0, 0, Instant(0), NOON)
    return RunFinished(run(number), dataset, candidate)


def run(number=1, trigger=Trigger.DRIFT):
    decision = decide(POLICY, replace(at(NOON), runs=number - 1), cause(trigger), ENOUGH)
    assert isinstance(decision, RetrainRequested)
    return decision.run


def promoted(epoch=1, pipeline_version=1) -> ModelPromoted:
    return ModelPromoted(
        BIKES, Champion(ModelVersionNumber(epoch), epoch, pipeline_version, "uri", "sha")
    )


def test_a_drift_is_answered_with_a_run_that_learns_from_all_that_is_known_by_now():
    decision = decide(POLICY, at(NOON), cause(), ENOUGH)

    assert isinstance(decision, RetrainRequested)
    assert (decision.run.number, decision.run.as_of, decision.run.trigger) == (
        1,
        NOON,
        Trigger.DRIFT,
    )
    assert decision.run.cause_id == "the-drift"
    assert decision.detail == (
        "temp moved; 1,000 labelled rows; run 1 of 24 today, 0.0 of 60 CPU minutes spent"
    )


def test_a_run_is_known_by_the_same_id_however_often_it_is_decided_on():
    assert decide(POLICY, at(NOON), cause(), ENOUGH) == decide(POLICY, at(NOON), cause(), ENOUGH)


def test_a_second_drift_within_the_cooldown_is_skipped_and_says_so_with_the_numbers():
    history = at(NOON + 20 * MINUTE, after_a_run_asked_for_at(NOON))

    decision = decide(POLICY, history, cause(), ENOUGH)

    assert isinstance(decision, RetrainSkipped)
    assert decision.reason is Skip.COOLING_DOWN
    assert decision.detail == (
        "temp moved; the last run was asked for 20m ago and the cooldown is 1h: it ends at 2026-03-04T13:00:00.000000Z"
    )


def test_a_drift_skipped_in_the_cooldown_is_honoured_at_the_first_event_after_its_end():
    history = at(NOON + 20 * MINUTE, after_a_run_asked_for_at(NOON))
    history = evolve(history, decide(POLICY, history, cause(), ENOUGH))

    assert honoured(POLICY, at(NOON + 59 * MINUTE, history)) is None
    put_off = honoured(POLICY, at(NOON + HOUR, history))
    assert put_off is not None
    assert (put_off.id, put_off.at) == ("the-drift", NOON + HOUR)


@pytest.mark.parametrize(
    "news",
    [
        promoted(),
        ModelRolledBack(BIKES, promoted().champion),
        DriftCleared(BIKES, "data/temp", NOON),
    ],
)
def test_a_put_off_drift_is_forgotten_when_it_was_answered_otherwise(news):
    history = at(NOON + 20 * MINUTE, after_a_run_asked_for_at(NOON))
    history = evolve(history, decide(POLICY, history, cause(), ENOUGH))

    assert honoured(POLICY, at(NOON + HOUR, evolve(history, news))) is None


def test_that_another_drift_is_over_does_not_concern_a_put_off_one():
    history = at(NOON + 20 * MINUTE, after_a_run_asked_for_at(NOON))
    history = evolve(history, decide(POLICY, history, cause(), ENOUGH))
    history = evolve(history, DriftCleared(BIKES, "data/hum", NOON))

    assert honoured(POLICY, at(NOON + HOUR, history)) is not None


def test_a_run_for_another_cause_answers_what_was_put_off():
    history = at(NOON + 20 * MINUTE, after_a_run_asked_for_at(NOON))
    history = evolve(history, decide(POLICY, history, cause(), ENOUGH))
    history = evolve(history, decide(POLICY, history, cause(Trigger.COMMAND), ENOUGH))

    assert honoured(POLICY, at(NOON + DAY, idle(history))) is None


def test_a_schedule_that_falls_into_the_cooldown_is_not_put_off_since_it_comes_again():
    history = at(NOON + 20 * MINUTE, after_a_run_asked_for_at(NOON))
    history = evolve(history, decide(POLICY, history, cause(Trigger.SCHEDULE), ENOUGH))

    assert honoured(POLICY, at(NOON + DAY, history)) is None


def test_a_drift_while_a_run_is_going_is_skipped_and_not_put_off():
    history = replace(at(NOON), going=Going(7, cause()))

    decision = decide(POLICY, history, cause(), ENOUGH)

    assert isinstance(decision, RetrainSkipped)
    assert (decision.reason, decision.detail) == (
        Skip.ALREADY_TRAINING,
        "temp moved; run 7 is going on",
    )
    assert evolve(history, decision).pending == ()


def test_a_drift_whose_run_failed_is_put_off_until_the_cooldown_ends():
    asked = evolve(at(NOON), decide(POLICY, at(NOON), cause(), ENOUGH))

    failed = evolve(asked, RunFailed(run(), "out of memory", cpu_seconds=3.0))

    assert honoured(POLICY, failed) is None
    assert honoured(POLICY, at(NOON + HOUR, failed)) is not None


def test_what_the_file_does_not_list_is_not_a_trigger():
    policy = replace(POLICY, triggers=frozenset({Trigger.FIRST, Trigger.COMMAND, Trigger.SCHEDULE}))

    decision = decide(policy, at(NOON), cause(), ENOUGH)

    assert isinstance(decision, RetrainSkipped)
    assert decision.reason is Skip.NOT_A_TRIGGER


def test_a_paused_pipeline_is_not_trained_even_by_command_and_goes_on_with_what_was_put_off():
    paused = evolve(at(NOON), PausePipeline(BIKES, paused=True))

    for trigger in Trigger:
        decision = decide(POLICY, paused, cause(trigger), ENOUGH)
        assert isinstance(decision, RetrainSkipped)
        assert decision.reason is Skip.PAUSED
    drifted = evolve(paused, decide(POLICY, paused, cause(), ENOUGH))
    assert honoured(POLICY, drifted) is None
    assert honoured(POLICY, evolve(drifted, PausePipeline(BIKES, paused=False))) is not None


def test_the_runs_of_a_day_are_bounded_and_the_next_day_has_its_own():
    policy = replace(POLICY, cooldown=Duration(0), runs_per_day=1)
    history = after_a_run_asked_for_at(NOON)

    decision = decide(policy, at(NOON + HOUR, history), cause(), ENOUGH)

    assert isinstance(decision, RetrainSkipped)
    assert (decision.reason, decision.detail) == (
        Skip.BUDGET_SPENT,
        "temp moved; 1 of 1 runs of today (UTC) are spent",
    )
    assert isinstance(
        decide(policy, at(NOON + 12 * HOUR, history), cause(), ENOUGH), RetrainRequested
    )


def test_the_cpu_minutes_of_a_day_are_bounded_by_what_runs_really_cost():
    policy = replace(POLICY, cooldown=Duration(0), cpu_minutes_per_day=2.0)
    history = evolve(at(NOON), decide(policy, at(NOON), cause(), ENOUGH))
    cheap, dear = (
        evolve(history, finished(cpu_seconds=119.0)),
        evolve(history, finished(cpu_seconds=120.0)),
    )

    assert isinstance(decide(policy, cheap, cause(), ENOUGH), RetrainRequested)
    decision = decide(policy, dear, cause(), ENOUGH)
    assert isinstance(decision, RetrainSkipped)
    assert decision.detail == "temp moved; 2.0 of 2 CPU minutes of today (UTC) are spent"


def test_a_person_who_asks_has_weighed_cooldown_and_budget():
    policy = replace(POLICY, runs_per_day=1)
    history = at(NOON + MINUTE, after_a_run_asked_for_at(NOON))

    assert isinstance(decide(policy, history, cause(Trigger.COMMAND), ENOUGH), RetrainRequested)


def test_too_few_labelled_rows_are_a_reason_with_both_numbers():
    decision = decide(POLICY, at(NOON), cause(), 99)

    assert isinstance(decision, RetrainSkipped)
    assert decision.reason is Skip.TOO_FEW_LABELS
    assert decision.detail == "temp moved; 99 labelled rows are there and 100 are needed"


def test_a_command_needs_only_as_many_rows_as_a_holdout_can_say_anything_of():
    assert isinstance(decide(POLICY, at(NOON), cause(Trigger.COMMAND), 20), RetrainRequested)
    assert isinstance(decide(POLICY, at(NOON), cause(Trigger.COMMAND), 19), RetrainSkipped)


def test_a_first_model_is_asked_for_once():
    assert first_model_after(POLICY, at(NOON)) == 100
    asked = evolve(at(NOON), decide(POLICY, at(NOON), first_cause(at(NOON), "label-100", 100), 100))

    assert first_model_after(POLICY, asked) is None
    assert first_model_after(POLICY, evolve(asked, finished())) is None
    assert first_model_after(POLICY, evolve(evolve(asked, finished()), promoted())) is None


@pytest.mark.parametrize(
    "refusal",
    [
        RunFailed(run(), "crashed", 1.0),
        RunSkipped(run(), 3, 20),
        ModelRejected(BIKES, run().run_id),
    ],
)
def test_a_first_model_that_came_to_nothing_is_asked_for_again_when_the_rows_have_doubled(refusal):
    asked = evolve(at(NOON), decide(POLICY, at(NOON), cause(Trigger.FIRST), 120))

    refused = idle(evolve(asked, refusal))

    assert first_model_after(POLICY, refused) == 240
    assert isinstance(decide(POLICY, refused, cause(Trigger.FIRST), 240), RetrainRequested)


def test_the_rejection_of_another_run_says_nothing_of_the_newest():
    asked = evolve(at(NOON), decide(POLICY, at(NOON), cause(Trigger.FIRST), 120))

    assert (
        first_model_after(POLICY, idle(evolve(asked, ModelRejected(BIKES, RunId("older"))))) is None
    )


def test_a_file_with_other_columns_needs_a_first_model_of_its_own():
    history = evolve(after_a_run_asked_for_at(NOON), promoted())
    other_columns = replace(POLICY, version=2, versions=frozenset({2}))
    same_columns = replace(POLICY, version=2, versions=frozenset({1, 2}))

    assert first_model_after(other_columns, history) == 100
    assert first_model_after(same_columns, history) is None


def test_an_older_promotion_does_not_change_the_champion():
    history = evolve(evolve(NO_HISTORY, promoted(2)), promoted(1))

    assert history.champion == promoted(2).champion


def hourly(_schedule: str, after: Instant) -> Instant:
    return Instant((after // HOUR + 1) * HOUR)


def test_a_schedule_is_due_when_recorded_time_passes_it_once_however_many_it_passes():
    policy = replace(POLICY, schedule="0 * * * *")
    history, none = pass_time(policy, NO_HISTORY, Instant(NOON + MINUTE), hourly)
    history, early = pass_time(policy, history, Instant(NOON + 59 * MINUTE), hourly)
    history, due = pass_time(policy, history, Instant(NOON + 5 * HOUR), hourly)
    history, again = pass_time(policy, history, Instant(NOON + 5 * HOUR), hourly)

    assert (none, early, again) == (None, None, None)
    assert due is not None
    assert due.trigger is Trigger.SCHEDULE
    assert due.because == "0 * * * * was due at 2026-03-04T13:00:00.000000Z"
    assert history.schedule_due == NOON + 6 * HOUR


def test_the_clock_never_goes_back():
    history, _ = pass_time(POLICY, at(NOON), Instant(NOON - HOUR), hourly)

    assert history.clock == NOON


def test_a_schedule_that_says_h_is_at_a_time_of_its_own_for_each_pipeline(pipeline):
    def due(name: str) -> str:
        retraining = replace(
            pipeline.retraining, on=frozenset({Trigger.SCHEDULE}), schedule="H 3 * * *"
        )
        named = replace(pipeline, name=PipelineName(name), retraining=retraining)
        return policy_of(named, []).schedule

    minute, *rest = due("bikes").split()
    assert rest == ["3", "*", "*", "*"]
    assert 0 <= int(minute) <= 59
    assert len({due(f"p{number}") for number in range(100)}) > 30
