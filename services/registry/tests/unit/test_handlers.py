"""From candidates, persons and failures to the version that answers."""

from dataclasses import replace

import pytest

from millrace_kernel.errors import PermanentError
from millrace_registry.domain.errors import (
    CommandRefusedError,
    UnknownPipelineError,
    UnknownVersionError,
)
from millrace_registry.domain.events import (
    ApprovalRequested,
    ModelPromoted,
    ModelRegistered,
    ModelRejected,
    ModelRetired,
    ModelRolledBack,
    RollBack,
)
from millrace_registry.domain.models import Stage
from millrace_registry.domain.promotion import FORMER_KEPT


def kinds(events):
    return [type(event) for event in events]


class TestACandidate:
    def test_that_passes_every_gate_is_promoted_at_once(self, world, training):
        registered, promoted = world.train(1)

        assert isinstance(registered, ModelRegistered)
        assert (promoted.model.version, promoted.epoch, promoted.previous) == (1, 1, 0)
        assert promoted.model.training.cause_id == "drift-1"
        assert [verdict.passed for verdict in promoted.verdicts] == [True, True]
        assert (world.models.champion, world.models.stages[1]) == (1, Stage.CHAMPION)

    def test_that_nobody_trusted_has_signed_is_not_registered_and_cannot_be_approved(self, world):
        world.train(1)
        before = world.models

        [rejected] = world.train(2, signing_key_id="unknown")

        assert (rejected.version, rejected.run_id) == (0, "run-2")
        assert rejected.reason == "not registered: run-2 is not signed"
        assert world.models == before
        with pytest.raises(UnknownVersionError):
            world.approve(2)

    def test_that_is_better_follows_the_champion(self, world):
        world.train(1)

        _, promoted = world.train(2)

        assert (promoted.model.version, promoted.epoch, promoted.previous) == (2, 2, 1)
        assert world.models.stages == {1: Stage.FORMER, 2: Stage.CHAMPION}

    def test_that_fails_a_gate_is_rejected_with_every_verdict(self, world):
        world.train(1)

        registered, rejected = world.train(2, mae=120.0, better=0.2)

        assert (registered.model.version, rejected.version, rejected.run_id) == (2, 2, "run-2")
        assert [verdict.passed for verdict in rejected.verdicts] == [False, False]
        assert rejected.reason.startswith(
            "failed mae <= 100: mae is 120 on 100 rows; failed mae better than champion"
        )
        assert world.models.champion == 1

    def test_waits_for_a_person_where_the_file_says_manual(self, make_world, file):
        world = make_world(file(strategy="manual"))

        _, asked = world.train(1)

        assert isinstance(asked, ApprovalRequested)
        assert (asked.version, len(asked.verdicts)) == (1, 2)
        assert world.models.stages == {1: Stage.AWAITING}

    def test_waits_for_a_person_while_promotions_are_paused(self, world):
        world.pause()

        assert kinds(world.train(1)) == [ModelRegistered, ApprovalRequested]

    def test_is_promoted_by_itself_again_when_they_go_on(self, world):
        world.pause()
        world.pause(False)

        assert kinds(world.train(1)) == [ModelRegistered, ModelPromoted]

    def test_is_registered_once_for_its_run(self, world):
        world.train(1)

        assert world.train(1) == []
        assert world.models.newest == 1

    def test_is_held_against_the_gates_in_force_now(self, world, file):
        world.apply(file(gates="[{metric: mae, max: 40}]"))

        assert kinds(world.train(1, pipeline_version=1)) == [ModelRegistered, ModelRejected]

    def test_of_an_unknown_pipeline_is_refused(self, world):
        with pytest.raises(UnknownPipelineError, match="apply its file first"):
            world.train(1, pipeline="trams")

    def test_that_is_promoted_retires_older_ones_that_waited(self, make_world, file):
        world = make_world(file(strategy="manual"))
        world.train(1)
        world.train(2)

        promoted, retired = world.approve()

        assert isinstance(promoted, ModelPromoted)
        assert isinstance(retired, ModelRetired)
        assert (promoted.model.version, retired.version) == (2, 1)
        assert retired.reason == "version 2 is newer and was promoted while it waited"

    def test_leaves_a_bounded_number_of_former_champions(self, world):
        retired = [
            event.version
            for number in range(1, 16)
            for event in world.train(number)
            if isinstance(event, ModelRetired)
        ]

        assert retired == [1, 2, 3, 4]
        assert len(world.models.at(Stage.FORMER)) == FORMER_KEPT
        assert world.models.line == tuple(range(5, 16))


class TestAPersonWhoApproves:
    def test_promotes_the_newest_that_waits(self, make_world, file):
        world = make_world(file(strategy="manual"))
        world.train(1)

        (promoted,) = world.approve()

        assert (promoted.model.version, promoted.epoch, promoted.approved_by) == (1, 1, "ada")
        assert len(promoted.verdicts) == 2

    def test_can_promote_what_the_gates_rejected(self, world):
        world.train(1, mae=120.0)

        (promoted,) = world.approve(1)

        assert promoted.model.version == 1
        assert not promoted.verdicts[0].passed

    def test_says_it_once_however_often_the_topic_says_it(self, world, training):
        for number in (1, 2, 3):
            world.train(number)
        command = RollBack("bikes", 0, "ada", "because", "the-command", 0)

        assert len(world.handle(command)) == 1
        assert world.handle(command) == []
        assert len(world.handle(replace(command, id="another"))) == 1

    @pytest.mark.parametrize(
        ("version", "refusal", "words"),
        [
            (0, CommandRefusedError, "no version of bikes waits"),
            (1, CommandRefusedError, "is the champion already"),
            (7, UnknownVersionError, "its versions are 1 to 1"),
        ],
    )
    def test_is_told_why_not(self, world, version, refusal, words):
        world.train(1)

        with pytest.raises(refusal, match=words) as caught:
            world.approve(version)
        assert isinstance(caught.value, PermanentError)

    def test_cannot_promote_what_is_retired(self, make_world, file):
        world = make_world(file(strategy="manual"))
        world.train(1)
        world.train(2)
        world.approve()

        with pytest.raises(CommandRefusedError, match="is retired"):
            world.approve(1)

    def test_cannot_promote_while_promotions_are_paused(self, make_world, file):
        world = make_world(file(strategy="manual"))
        world.train(1)
        world.pause()

        with pytest.raises(CommandRefusedError, match="paused"):
            world.approve()


class TestAPersonWhoRejects:
    def test_turns_down_the_newest_that_waits(self, make_world, file):
        world = make_world(file(strategy="manual"))
        world.train(1)

        (rejected,) = world.reject()

        assert (rejected.version, rejected.reason) == (1, "turned down by ada: because")
        assert len(rejected.verdicts) == 2

    def test_cannot_turn_down_what_does_not_wait(self, world):
        world.train(1)

        with pytest.raises(CommandRefusedError, match="it is the champion"):
            world.reject(1)


class TestRollingBack:
    def test_goes_to_the_champion_before(self, world):
        world.train(1)
        world.train(2)

        (back,) = world.roll_back()

        assert (back.model.version, back.epoch, back.previous) == (1, 3, 2)
        assert back.reason == "asked for by ada: because"
        assert world.models.stages == {1: Stage.CHAMPION, 2: Stage.FORMER}

    def test_twice_goes_further_and_not_forth_again(self, world):
        for number in (1, 2, 3):
            world.train(number)

        assert [world.roll_back()[0].model.version, world.roll_back()[0].model.version] == [2, 1]

    def test_can_name_any_former_champion(self, world):
        for number in (1, 2, 3):
            world.train(number)

        assert world.roll_back(1)[0].model.version == 1
        assert world.roll_back(3)[0].model.version == 3

    def test_works_while_promotions_are_paused(self, world):
        world.train(1)
        world.train(2)
        world.pause()

        assert kinds(world.roll_back()) == [ModelRolledBack]

    @pytest.mark.parametrize(
        ("version", "words"),
        [
            (0, "version 1 is the only champion"),
            (1, "version 1, the champion"),
            (2, "rejected; approve it instead"),
        ],
    )
    def test_is_refused_where_there_is_nothing_to_go_back_to(self, world, version, words):
        world.train(1)
        world.train(2, mae=120.0)

        with pytest.raises(CommandRefusedError, match=words):
            world.roll_back(version)

    def test_is_refused_before_the_first_champion(self, world):
        with pytest.raises(CommandRefusedError, match="it has no champion yet"):
            world.roll_back()


class TestAFailedDeployment:
    def test_gives_the_answering_back_to_the_champion_before(self, world):
        world.train(1)
        world.train(2)

        (back,) = world.fail(version=2, epoch=2)

        assert (back.model.version, back.epoch, back.previous, back.actor) == (1, 3, 2, None)
        assert back.reason == "version 2 could not be deployed on serving-1: no such artifact"

    def test_reported_by_several_instances_is_answered_once(self, world):
        world.train(1)
        world.train(2)
        world.fail(version=2, epoch=2)

        assert world.fail(version=2, epoch=2, instance="serving-2") == []

    def test_of_the_only_champion_changes_nothing(self, world):
        world.train(1)

        assert world.fail(version=1, epoch=1) == []

    def test_after_failed_deployment_rolling_back_skips_what_failed(self, world):
        for number in (1, 2, 3):
            world.train(number)
        world.fail(version=3, epoch=3)

        assert world.roll_back()[0].model.version == 1
