"""The room that challengers take, and that the champions they are compared with stay beside them."""

from dataclasses import replace

import pytest

from millrace_kernel.ids import ModelVersionNumber
from millrace_kernel.time import Instant
from millrace_serving.application.challengers import Challengers, Shadowed, on_shadowed
from millrace_serving.application.deployer import Deployer
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.errors import ModelNotLoadedError
from millrace_serving.application.routing import Routing
from millrace_serving.domain.canary import PARTS, ChallengerEnded, ChallengerStarted, Trial
from millrace_serving.domain.champions import ModelPromoted
from millrace_serving.domain.events import Role

EACH = 1_000  # bytes of a fake model


class Shop:
    """Champions and challengers on the world's fake engine, with room for so many models."""

    def __init__(self, world, champion_of, room: int) -> None:
        self.engine, self._champion_of = world.engine, champion_of
        self.deployments = Deployments(room * EACH)
        self.deployer = Deployer(self.deployments, self.engine, "serving-0", lambda: 0.0)
        self.routing = Routing(self.deployments, "serving-0", lambda _: None, lambda: 0.0)
        self.challengers = Challengers(self.routing, self.engine, self.deployments)

    async def promote(self, *pipelines: str, version: int = 1) -> None:
        for pipeline in pipelines:
            self.deployer.hear(ModelPromoted(self._champion_of(version, version, pipeline)))
            await self.deployer.carry_out()

    def start(self, pipeline: str, number: int = 1, share: int = 0) -> Trial:
        challenger = replace(self._champion_of(7, 1, pipeline), version=ModelVersionNumber(7))
        trial = Trial(
            number, 0, challenger, ModelVersionNumber(1), share, Instant(0), Instant(1_000)
        )
        self.challengers.hear(ChallengerStarted(trial))
        return trial

    async def challenge(self, *pipelines: str) -> bool:
        for pipeline in pipelines:
            self.start(pipeline)
        return await self.challengers.settle()

    async def end(self, pipeline: str) -> bool:
        self.challengers.hear(ChallengerEnded(pipeline, ModelVersionNumber(7)))
        return await self.challengers.settle()

    def challenging(self) -> set[str]:
        return {one.trial.pipeline for one in self.routing.all() if one.deployment is not None}

    def hot(self, *pipelines: str) -> list[bool]:
        return [self.deployments.is_hot(pipeline) for pipeline in pipelines]


@pytest.fixture
def make_shop(world, make_champion):
    return lambda room: Shop(world, make_champion, room)


async def test_a_challenger_takes_room_as_long_as_its_trial_runs(make_shop):
    shop = make_shop(10)
    await shop.promote("bikes")
    assert await shop.challenge("bikes")
    during = shop.deployments.bytes
    assert await shop.end("bikes")

    assert (during, shop.deployments.bytes) == (2 * EACH, EACH)


async def test_a_challenger_that_failed_gives_its_room_back(make_shop):
    shop = make_shop(10)
    await shop.promote("bikes")
    await shop.challenge("bikes")
    shop.routing.fail("bikes", "it does not score")
    await shop.challengers.settle()

    assert shop.deployments.bytes == EACH


async def test_challengers_drive_out_what_is_kept_for_rollbacks_and_then_champions(make_shop):
    shop = make_shop(4)
    await shop.promote("bikes", "taxis", "boats")
    await shop.promote("bikes", version=2)
    await shop.challenge("taxis")
    assert len(shop.deployments.loaded("bikes")) == 1
    assert shop.hot("bikes", "taxis", "boats") == [True, True, True]

    await shop.challenge("boats")
    assert shop.hot("bikes", "taxis", "boats") == [False, True, True]
    assert shop.deployments.bytes == 4 * EACH


async def test_the_champion_it_is_compared_with_stays_beside_it(make_shop):
    shop = make_shop(3)
    await shop.promote("bikes")
    await shop.challenge("bikes")
    await shop.promote("taxis")
    for pipeline in ("boats", "trams"):  # each asked for, and newer than the bikes
        await shop.promote(pipeline)
        await shop.deployments.ready(pipeline)

    assert shop.hot("bikes") == [True]
    assert shop.challenging() == {"bikes"}
    assert shop.deployments.bytes == 3 * EACH
    await shop.end("bikes")
    await shop.deployments.ready("taxis")
    await shop.deployments.ready("boats")
    await shop.deployments.ready("trams")
    assert shop.hot("bikes") == [False]


async def test_challengers_take_half_of_the_room_at_most_and_the_others_wait_for_an_end(make_shop):
    shop = make_shop(5)  # half: two and a half
    names = ("bikes", "taxis", "boats")
    await shop.promote(*names)
    assert not await shop.challenge(*names)
    first = shop.challenging()
    assert len(first) == 2

    loads = len(shop.engine.loaded)
    assert not await shop.challengers.settle()
    assert len(shop.engine.loaded) == loads, "what does not fit was fetched again"
    [waiting] = set(names) - first
    assert await shop.end(min(first))
    assert shop.challenging() == {max(first), waiting}


async def test_one_challenger_alone_is_always_let_in(make_shop):
    shop = make_shop(1)
    await shop.promote("bikes")

    assert await shop.challenge("bikes")
    assert shop.challenging() == {"bikes"}
    assert shop.hot("bikes") == [True]


async def test_the_next_trial_of_a_pipeline_is_counted_anew(make_shop):
    shop = make_shop(10)
    await shop.promote("bikes")
    await shop.challenge("bikes")
    await shop.end("bikes")
    shop.start("bikes", number=2)
    await shop.challengers.settle()

    assert shop.deployments.bytes == 2 * EACH


async def test_vectors_that_a_cold_champion_is_to_score_wait_for_it(make_shop, world, make_vector):
    """Else a canary's own entities would never be compared on an instance that has just started."""
    shop = make_shop(10)
    shop.deployer._at_start = 0
    await shop.promote("bikes")
    trial = shop.start("bikes", share=PARTS)
    model = shop.engine.load(trial.challenger)
    shop.routing.deploy(trial, Deployment(trial.challenger, model))
    asked = [Shadowed(make_vector(), Instant(2_000))]

    with pytest.raises(ModelNotLoadedError):
        on_shadowed(asked, "bikes", world.pipelines, shop.deployments, shop.routing)
    await shop.deployments.ready("bikes")
    [[compared]] = on_shadowed(asked, "bikes", world.pipelines, shop.deployments, shop.routing)
    assert (compared.model_version, compared.role) == (1, Role.CHALLENGER)
