"""A challenger's trial as the service hears it: answers of both, labels, and what is said of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_kernel.errors import TransientError
from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import LabelKind, Promotion, Strategy
from millrace_kernel.time import MILLISECOND, Instant
from millrace_monitoring.domain.events import (
    ChallengerCompared,
    ChallengerEnded,
    ChallengerStarted,
    LabelRetracted,
    Role,
    Verdict,
)
from millrace_monitoring.domain.trials import LEAST_ANSWERS, SAID_EVERY

FIXTURE = [HealthCheck.function_scoped_fixture]  # they make things, and keep none
BIKES = PipelineName("bikes")
ONE, TWO = ModelVersionNumber(1), ModelVersionNumber(2)
SHADOW = Promotion(Strategy.SHADOW, min_labels=20, max_labels=400)


def trial(number=1, step=0, *, epoch=1, learnt_until=0, version=TWO) -> ChallengerStarted:
    return ChallengerStarted(
        f"trial-{number}-{step}", BIKES, version, number, step, epoch, ONE, Instant(learnt_until)
    )


@pytest.fixture
def heart(new_heart, watching, promoted):
    """Version 1 answers; its holdout's mean error is 8."""
    made = new_heart(watching(promotion=SHADOW))
    made.hear(promoted(1, 1))
    return made


@pytest.fixture
def both(a_prediction):
    """The champion's and the challenger's answer to event `number`."""

    def make(number, champion=100.0, challenger=100.0, **changes):
        given = {"trial": 1, **changes}
        return [
            a_prediction(number, answer=champion, **given),
            a_prediction(
                number,
                id=f"challenger-{number}",
                answer=challenger,
                role=Role.CHALLENGER,
                model_version=TWO,
                **given,
            ),
        ]

    return make


def said(events) -> list[ChallengerCompared]:
    return [event for event in events if isinstance(event, ChallengerCompared)]


def run(heart, both, a_label, rng, count, *, champion=10.0, challenger=10.0):
    """Normal errors of these spreads; all that is said of the trial."""
    heard = []
    for number in range(count):
        errors = rng.normal(0, champion), rng.normal(0, challenger)
        heard += heart.hear(both(number, 100 + errors[0], 100 + errors[1]))
        heard += heart.hear(a_label(number, 100.0))
    return said(heard)


def test_a_better_challenger_is_proven_better_with_its_figures(heart, both, a_label):
    heart.hear(trial())
    told = run(heart, both, a_label, np.random.default_rng(1), 300, challenger=3.0)

    proof = next(one for one in told if one.verdict is Verdict.BETTER)
    assert (proof.champion_version, proof.challenger_version, proof.trial) == (1, 2, 1)
    assert proof.metric == "mae"
    assert proof.challenger_value < proof.champion_value
    assert 0 < proof.lower < proof.difference < proof.upper
    assert proof.difference == pytest.approx(proof.champion_value - proof.challenger_value, rel=0.1)
    assert proof.confidence == SHADOW.confidence
    assert all(one.verdict is Verdict.BETTER for one in told[told.index(proof) :])


def test_a_worse_challenger_is_proven_worse(heart, both, a_label):
    heart.hear(trial())
    told = run(heart, both, a_label, np.random.default_rng(1), 300, challenger=30.0)

    assert told[-1].verdict is Verdict.WORSE
    assert told[-1].upper < 0


def test_equal_ones_are_told_undecided_now_and_then(heart, both, a_label):
    heart.hear(trial())
    told = run(heart, both, a_label, np.random.default_rng(1), 200)

    assert {one.verdict for one in told} == {Verdict.UNDECIDED}
    assert [one.events for one in told] == [
        SHADOW.min_labels, *range(SAID_EVERY, 201, SAID_EVERY)
    ]  # fmt: skip
    assert len({one.id for one in told}) == len(told)


@given(st.permutations(range(6)))
@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE)
def test_an_event_is_compared_once_in_whatever_order_its_sides_come(
    new_heart, watching, promoted, both, a_label, order
):
    heart = new_heart(watching(promotion=SHADOW))
    heart.hear([promoted(1, 1), trial()])
    pieces = [*both(0), *both(0), a_label(0, 100.0), a_label(0, 90.0)]
    for place in order:
        heart.hear(pieces[place])

    assert heart.monitors[BIKES].trial.evidence.count == 1


def test_nothing_is_compared_that_the_challenger_may_have_learnt_from(heart, both, a_label):
    label = a_label(0)
    heart.hear(trial(learnt_until=label.recorded_at))
    heart.hear([*both(0), label])
    heart.hear([*both(1), a_label(1)])

    assert heart.monitors[BIKES].trial.evidence.count == 1


def test_answers_to_the_past_meet_labels_that_came_before_the_trial(heart, both, a_label):
    """The champion answered and was labelled before anybody knew of a challenger."""
    champion, challenger = both(0)
    heart.hear([champion_before(champion), a_label(0)])
    heart.hear([trial(), challenger])

    assert heart.monitors[BIKES].trial.evidence.count == 1
    assert heart.monitors[BIKES].overall.events == 1


def champion_before(prediction):
    return replace(prediction, trial=0)


def test_a_challengers_answers_are_not_counted_as_answers_to_users(heart, both, a_label):
    heart.hear(trial())
    heart.hear([*both(0), a_label(0)])

    monitor = heart.monitors[BIKES]
    assert monitor.overall.events == 1
    assert monitor.inputs.events == 1
    assert monitor.quality.events == 1
    assert {version: tally.events for version, tally in monitor.tallies.items()} == {1: 1, 2: 1}


def test_the_champions_answers_for_comparison_are_not_in_its_windows(heart, both):
    """A canary's share is answered by the challenger; the champion's answer to it nobody sees."""
    champion, _ = both(0)
    heart.hear([trial(), replace(champion, role=Role.CHALLENGER)])

    assert heart.monitors[BIKES].inputs.events == 0


def test_an_answer_of_a_trial_that_is_on_its_way_waits(heart, both):
    with pytest.raises(TransientError, match="trial 1, which has not been heard of"):
        heart.hear(both(0))


def test_late_answers_of_an_older_trial_count_for_no_other(heart, both, a_label):
    heart.hear([trial(1), ChallengerEnded(BIKES, TWO), trial(2, version=ModelVersionNumber(3))])
    heart.hear([*both(0), a_label(0)])

    monitor = heart.monitors[BIKES]
    assert monitor.trial.evidence.count == 0
    assert monitor.trial.challenger.answers.count == 0


def test_a_trial_is_over_when_another_champion_answers(heart, promoted, both):
    heart.hear([trial(), promoted(2, 2)])

    assert heart.monitors[BIKES].trial is None
    assert heart.hear(both(0)) == []


@pytest.mark.parametrize("again", [trial(1), trial(1, 1)])
def test_a_trial_that_is_over_does_not_begin_again(heart, again):
    heart.hear([trial(1), ChallengerEnded(BIKES, TWO), again])

    assert heart.monitors[BIKES].trial is None


def test_a_step_keeps_the_proof_and_counts_labels_anew(heart, both, a_label):
    heart.hear(trial())
    run(heart, both, a_label, np.random.default_rng(1), 100, challenger=3.0)
    heart.hear([trial(1, 1), trial(1, 0)])

    running = heart.monitors[BIKES].trial
    assert (running.step, running.evidence.count, running.before_step) == (1, 100, 100)
    told = []
    for number in range(100, 100 + SHADOW.min_labels):
        told += heart.hear([*both(number, 90.0), a_label(number)])
    assert said(told)[-1].step_events == SHADOW.min_labels
    assert said(told)[-1].step == 1


def test_a_challenger_that_takes_too_long_is_told_at_once(heart, both):
    heart.hear(trial())
    slow = 2 * SHADOW.max_latency / (1000 * MILLISECOND)
    told = [said(heart.hear(both(number, seconds=slow))) for number in range(LEAST_ANSWERS)]

    assert [bool(one) for one in told] == [False] * (LEAST_ANSWERS - 1) + [True]
    (breach,) = told[-1]
    assert breach.verdict is Verdict.SLOW
    assert breach.challenger_seconds == pytest.approx(slow)


def test_a_challenger_that_leaves_events_without_an_answer_is_told_at_once(heart, both):
    heart.hear(trial())
    told = []
    for number in range(2 * LEAST_ANSWERS):
        told += heart.hear(both(number, challenger=None if number % 10 == 0 else 100.0))

    assert said(told)[0].verdict is Verdict.FAILING
    assert said(told)[0].challenger_errors == pytest.approx(0.1)
    assert said(told)[0].champion_errors == 0.0


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "loss", "lost"),
    [(LabelKind.BINARY, 1.0, 0.5, "brier", 0.25), (LabelKind.MULTICLASS, "a", "b", "error", 1.0)],
)
def test_other_labels_have_losses_of_their_own(
    new_heart, watching, promoted, a_profile, both, a_label, kind, right, wrong, loss, lost
):
    heart = new_heart(watching(kind, promotion=Promotion(Strategy.SHADOW, 1)))
    heart.hear([promoted(1, 1, a_profile(metrics={"accuracy": 0.9})), trial()])
    told = said(heart.hear([*both(0, wrong, right), a_label(0, right)]))

    assert (told[0].loss, told[0].difference) == (loss, pytest.approx(lost))


def test_a_retracted_label_takes_its_event_out_of_what_may_be_compared(heart, both, a_label):
    champion, challenger = both(0)
    heart.hear([trial(), champion, a_label(0)])
    heart.hear(LabelRetracted("retracted", BIKES, champion.event_id))
    heart.hear([challenger, a_label(0, 90.0)])

    assert heart.monitors[BIKES].trial.evidence.count == 0


def test_pipelines_that_compare_nothing_keep_nothing_that_has_met(
    new_heart, watching, promoted, a_prediction, a_label
):
    heart = new_heart(watching())
    heart.hear([promoted(1, 1), a_prediction(0), a_label(0)])

    assert not heart.joins
