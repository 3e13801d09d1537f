import asyncio
import threading

import pytest

from millrace_kernel.errors import TransientError
from millrace_kernel.ids import ModelVersionNumber
from millrace_serving.domain.champions import ModelPromoted, ModelRolledBack
from millrace_serving.domain.events import DeploymentFailed, ModelDeployed


def answering(world) -> int:
    return world.deployments.current("bikes").model.version


async def test_a_promotion_is_carried_out_and_says_how_long_it_took(world, make_champion):
    world.deployer.hear(ModelPromoted(make_champion(1, 1)))
    world.seconds += 2.5
    await world.deployer.carry_out()

    assert answering(world) == 1
    assert world.deployer.outcome(make_champion(1, 1)) == ModelDeployed(
        make_champion(1, 1), "serving-0", 2.5
    )


async def test_of_several_promotions_heard_together_only_the_newest_is_carried_out(
    world, make_champion
):
    for number in (1, 2, 3):
        world.deployer.hear(ModelPromoted(make_champion(number, number)))
    await world.deployer.carry_out()

    assert [champion.version for champion in world.engine.loaded] == [3]
    assert world.deployer.outcome(make_champion(2, 2)) is None


async def test_what_has_been_carried_out_is_not_done_again(world, make_champion):
    await world.promote(version=1, epoch=1)
    await world.promote(version=1, epoch=1)

    assert len(world.engine.loaded) == 1
    assert isinstance(world.deployer.outcome(make_champion(1, 1)), ModelDeployed)


async def test_a_message_of_an_older_epoch_changes_nothing(world):
    await world.promote(version=2, epoch=2)
    await world.promote(version=1, epoch=1)

    assert answering(world) == 2


async def test_a_rollback_answers_with_the_model_that_stayed_loaded(world, make_champion):
    await world.promote(version=1, epoch=1)
    first = world.deployments.current("bikes").model
    await world.promote(version=2, epoch=2)
    world.deployer.hear(ModelRolledBack(make_champion(1, 3), ModelVersionNumber(2)))
    await world.deployer.carry_out()

    assert world.deployments.current("bikes").model is first
    assert world.deployments.current("bikes").champion.epoch == 3
    assert len(world.engine.loaded) == 2


async def test_at_most_two_versions_stay_loaded(world):
    for number in (1, 2, 3):
        await world.promote(version=number, epoch=number)

    assert [one.model.version for one in world.deployments.loaded("bikes")] == [3, 2]


async def test_a_broken_artifact_is_told_and_the_champion_before_goes_on(world, make_champion):
    await world.promote(version=1, epoch=1)
    world.engine.broken.add(2)
    await world.promote(version=2, epoch=2)

    assert answering(world) == 1
    assert world.deployer.outcome(make_champion(2, 2)) == DeploymentFailed(
        make_champion(2, 2), "serving-0", "memory://bikes/2 is broken"
    )


async def test_an_instance_that_starts_with_a_broken_champion_goes_back_to_the_one_before(
    world, make_champion
):
    world.engine.broken.add(2)
    world.deployer.hear(ModelPromoted(make_champion(1, 1)))
    world.deployer.hear(ModelPromoted(make_champion(2, 2)))
    await world.deployer.carry_out()

    assert answering(world) == 1
    assert isinstance(world.deployer.outcome(make_champion(2, 2)), DeploymentFailed)
    assert isinstance(world.deployer.outcome(make_champion(1, 1)), ModelDeployed)


async def test_what_cannot_be_reached_stays_due_and_the_others_are_carried_out(
    world, make_champion
):
    await world.promote(version=1, epoch=1)
    world.engine.away.add(2)
    world.deployer.hear(ModelPromoted(make_champion(2, 2)))
    world.deployer.hear(ModelPromoted(make_champion(5, 1, "taxis")))
    with pytest.raises(TransientError):
        await world.deployer.carry_out()

    assert answering(world) == 1
    assert world.deployments.current("taxis").model.version == 5
    assert world.deployer.outcome(make_champion(2, 2)) is None

    world.engine.away.clear()
    await world.deployer.carry_out()
    assert answering(world) == 2


async def test_loading_leaves_the_event_loop_alone(world, make_champion, monkeypatch):
    may_end, load = threading.Event(), world.engine.load

    def slowly(champion):
        assert may_end.wait(10)
        return load(champion)

    monkeypatch.setattr(world.engine, "load", slowly)
    world.deployer.hear(ModelPromoted(make_champion(1, 1)))
    loading = asyncio.create_task(world.deployer.carry_out())
    await asyncio.sleep(0.01)
    assert world.deployments.current("bikes") is None

    may_end.set()
    await loading
    assert answering(world) == 1


async def test_a_promotion_heard_while_another_loads_is_carried_out_next(
    world, make_champion, monkeypatch
):
    load = world.engine.load

    def and_meanwhile(champion):
        world.deployer.hear(ModelPromoted(make_champion(2, 2)))
        return load(champion)

    monkeypatch.setattr(world.engine, "load", and_meanwhile)
    await world.promote(version=1, epoch=1)
    assert answering(world) == 1

    await world.deployer.carry_out()
    assert answering(world) == 2
