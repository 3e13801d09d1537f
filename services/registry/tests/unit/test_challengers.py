"""From candidates that passed their gates, over trials, to the version that answers."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_kernel.pipeline import Promotion, Strategy
from millrace_kernel.time import DAY
from millrace_registry.domain.challengers import next_share
from millrace_registry.domain.errors import CommandRefusedError
from millrace_registry.domain.events import (
    ApprovalRequested,
    ChallengerStarted,
    ModelPromoted,
    ModelRegistered,
    ModelRejected,
    ModelRetired,
    ModelRolledBack,
)
from millrace_registry.domain.models import Stage

FIXTURE = [HealthCheck.function_scoped_fixture]  # it makes worlds, and keeps none
ENOUGH = 200  # labels, by default


def kinds(events):
    return [type(event) for event in events]


@pytest.fixture
def shadow(make_world, file):
    """Version 1 answers, version 2 is compared with it."""
    world = make_world(file(strategy="shadow", numbers="shadow_from: 7d"))
    world.train(1)
    world.train(2)
    return world


@pytest.fixture
def canary(make_world, file):
    world = make_world(file(strategy="canary"))
    world.train(1)
    world.train(2)
    return world


class TestACandidate:
    def test_without_a_champion_to_compare_it_with_is_promoted(self, make_world, file):
        _, promoted = make_world(file(strategy="shadow")).train(1)

        assert isinstance(promoted, ModelPromoted)
        assert "there is no champion to compare it with" in promoted.reason

    def test_becomes_a_challenger_with_all_that_others_need(self, shadow, training):
        trial = shadow.models.trial
        started = shadow.versions.events[-1]

        assert isinstance(started, ChallengerStarted)
        assert (started.version, trial.version, trial.champion) == (2, 2, 1)
        assert (trial.number, trial.step, trial.epoch, trial.share) == (1, 0, 1, 0.0)
        assert trial.started - trial.since == 7 * DAY
        assert started.reason == ("passed every gate; compared with version 1, without answering")
        assert shadow.models.stages == {1: Stage.CHAMPION, 2: Stage.CHALLENGER}

    def test_of_a_canary_answers_the_first_share_and_nothing_of_the_past(self, canary):
        trial = canary.models.trial

        assert (trial.share, trial.since) == (1.0, trial.started)

    def test_that_failed_its_gates_is_compared_with_nothing(self, shadow):
        assert kinds(shadow.train(3, mae=120.0)) == [ModelRegistered, ModelRejected]
        assert shadow.models.trial.version == 2

    def test_waits_while_another_is_compared(self, shadow):
        assert kinds(shadow.train(3)) == [ModelRegistered]
        assert shadow.models.stages[3] is Stage.QUEUED

        assert kinds(shadow.compare("worse")) == [ModelRejected, ChallengerStarted]
        assert (shadow.models.trial.version, shadow.models.trial.number) == (3, 2)

    def test_that_waits_is_overtaken_by_a_newer_one(self, shadow):
        shadow.train(3)
        shadow.train(4)

        rejected, retired, started = shadow.compare("worse")

        assert (rejected.version, retired.version, started.version) == (2, 3, 4)
        assert "version 4 is newer" in retired.reason


class TestAShadow:
    def test_is_promoted_with_the_proof_when_it_is_better_and_has_labels_enough(self, shadow):
        (promoted,) = shadow.compare("better", ENOUGH)

        assert isinstance(promoted, ModelPromoted)
        assert (promoted.model.version, promoted.epoch, promoted.approved_by) == (2, 2, None)
        assert "better than version 1 on 200 labelled events" in promoted.reason
        assert "between 1.5 and 3.5 (confidence 0.99, at all times)" in promoted.reason
        assert promoted.verdicts[-1].gate == "better than version 1 on live traffic (0.99)"
        assert [verdict.passed for verdict in promoted.verdicts] == [True, True, True]
        assert shadow.models.trial is None

    def test_waits_for_labels_though_it_is_better(self, shadow):
        assert shadow.compare("better", ENOUGH - 1) == []
        assert shadow.models.trial is not None

    @pytest.mark.parametrize(
        ("verdict", "why"),
        [
            ("worse", "worse than version 1"),
            ("slow", "it takes 250 ms to score one event"),
            ("failing", "it leaves 12.50% of the events without an answer"),
        ],
    )
    def test_is_rejected_at_once_on_a_breach(self, shadow, verdict, why):
        (rejected,) = shadow.compare(verdict, 3)

        assert isinstance(rejected, ModelRejected)
        assert rejected.version == 2
        assert why in rejected.reason
        assert rejected.verdicts[-1].passed is False
        assert shadow.models.stages == {1: Stage.CHAMPION, 2: Stage.REJECTED}

    def test_is_rejected_without_proof_at_the_limit_of_labels(self, shadow):
        assert shadow.compare("undecided", 9_999) == []
        (rejected,) = shadow.compare("undecided", 10_000)

        assert rejected.reason.startswith("no proof after 10000 labels: not proven different")

    @pytest.mark.parametrize("other", [{"trial": 2}, {"version": 3}, {"trial": 0}])
    def test_minds_no_other_trial(self, shadow, other):
        assert shadow.compare("worse", **other) == []
        assert shadow.compare("better", **other) == []

    def test_goes_through_the_same_comparison_once(self, shadow):
        shadow.compare("better", trial=1)

        assert shadow.compare("better", trial=1, version=2) == []


class TestACanary:
    def test_grows_step_by_step_and_is_promoted_with_the_last(self, canary):
        shares = [canary.models.trial.share]
        for step in (1, 2):
            (grown,) = canary.compare("better", ENOUGH * step, step_events=ENOUGH)
            assert isinstance(grown, ChallengerStarted)
            assert (grown.trial.number, grown.trial.step) == (1, step)
            assert "better than version 1" in grown.reason
            shares.append(canary.models.trial.share)
        (promoted,) = canary.compare("better", ENOUGH * 3, step_events=ENOUGH)

        assert shares == [1.0, 5.0, 25.0]
        assert isinstance(promoted, ModelPromoted)

    def test_needs_labels_enough_at_every_step(self, canary):
        canary.compare("better")

        assert canary.compare("better", 5_000, step_events=ENOUGH - 1) == []

    def test_minds_what_was_said_before_its_step_only_as_a_breach(self, canary):
        canary.compare("better")

        assert canary.compare("better", step=0) == []
        assert kinds(canary.compare("worse", step=0)) == [ModelRejected]

    def test_never_shrinks_when_the_file_changes(self, canary, file):
        canary.compare("better")
        canary.apply(file(strategy="canary", numbers="steps: [2, 3, 50, 100]"))

        (grown,) = canary.compare("better")

        assert grown.trial.share == 50.0

    def test_that_fails_while_it_scores_is_rejected(self, canary):
        assert canary.fail(2, 1, trial=7) == []
        (rejected,) = canary.fail(2, 1, trial=1)

        assert (rejected.version, canary.models.trial) == (2, None)
        assert rejected.reason == "failed as a challenger on serving-1: no such artifact"
        assert canary.fail(2, 1, trial=1) == []
        assert canary.models.champion == 1


class TestAnotherChampion:
    def test_begins_the_trial_anew(self, make_world, file):
        """What was proven against the former one says nothing of this one."""
        world = make_world(file(strategy="shadow"))
        world.train(1)
        world.train(2)
        world.compare("better")
        world.train(3)
        world.roll_back()

        trial = world.models.trial
        assert (trial.version, trial.champion, trial.number, trial.epoch) == (3, 1, 3, 3)
        assert world.compare("worse", trial=2) == []

    def test_that_is_newer_retires_the_challenger(self, shadow):
        shadow.train(3)

        promoted, retired = shadow.approve(3)

        assert isinstance(promoted, ModelPromoted)
        assert (type(retired), retired.version) == (ModelRetired, 2)
        assert shadow.models.trial is None

    def test_may_be_the_challenger_by_a_persons_word(self, shadow):
        assert kinds(shadow.approve(2)) == [ModelPromoted]
        assert kinds(shadow.roll_back()) == [ModelRolledBack]


class TestAPerson:
    def test_may_turn_the_challenger_down(self, shadow):
        (rejected,) = shadow.reject(2)

        assert rejected.reason == "turned down by ada: because"
        assert shadow.models.trial is None

    def test_cannot_roll_back_to_a_challenger(self, shadow):
        with pytest.raises(CommandRefusedError, match="the challenger; approve it instead"):
            shadow.roll_back(2)

    def test_pauses_steps_and_promotions_but_no_rejection(self, canary):
        canary.pause()

        assert canary.compare("better") == []
        assert canary.compare("undecided", 20_000) == []
        assert kinds(canary.compare("slow")) == [ModelRejected]

    def test_lets_a_challenger_begin_that_waited_for_the_pause_to_end(self, shadow):
        shadow.train(3)
        shadow.pause()
        assert kinds(shadow.compare("worse")) == [ModelRejected]

        assert kinds(shadow.pause(False)) == [ChallengerStarted]
        assert shadow.models.trial.version == 3

    def test_decides_where_the_file_now_says_manual(self, shadow, file):
        shadow.apply(file(strategy="manual"))

        (asked,) = shadow.compare("better")

        assert isinstance(asked, ApprovalRequested)
        assert shadow.models.stages[2] is Stage.AWAITING


@given(
    steps=st.lists(
        st.floats(0.01, 99.99, allow_nan=False), min_size=1, max_size=10, unique=True
    ).map(lambda found: (*sorted(found), 100.0)),
    share=st.floats(0, 100),
)
@settings(max_examples=200)
def test_the_next_share_is_the_nearest_larger_one(steps, share):
    after = next_share(Promotion(Strategy.CANARY, 0, steps=steps), share)

    assert after > share or after == 100.0
    assert not any(share < step < after for step in steps)


@given(verdicts=st.lists(st.sampled_from(["better", "undecided", "worse"]), max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE)
def test_shares_of_a_trial_only_grow_and_end_with_it(make_world, file, verdicts):
    world = make_world(file(strategy="canary"))
    world.train(1)
    world.train(2)
    for verdict in verdicts:
        world.compare(verdict)
    started = [event for event in world.versions.events if isinstance(event, ChallengerStarted)]

    for before, after in pairwise(started):
        assert (after.trial.step, after.trial.number) == (before.trial.step + 1, 1)
        assert after.trial.share > before.trial.share
    assert (world.models.trial is None) == ("worse" in verdicts or world.models.champion == 2)
