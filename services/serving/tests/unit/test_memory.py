"""Which models are in memory: room, what goes first, what comes back, and that nothing else answers meanwhile."""

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_kernel.errors import TransientError
from millrace_kernel.ids import ModelVersionNumber
from millrace_serving.application.deployer import Deployer
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.errors import ModelNotLoadedError
from millrace_serving.domain.champions import Champion, ModelPromoted, ModelRolledBack
from millrace_serving.domain.events import DeploymentFailed, ModelDeployed

EACH = 1_000  # bytes of a fake model


class Shelf:
    """Deployments with room for so many models, and a deployer on the world's fake engine."""

    def __init__(self, world, champion_of, room: int, at_start: int = 0, at_once: int = 2) -> None:
        self.engine, self._champion_of = world.engine, champion_of
        self.deployments = Deployments(room * EACH)
        self.told: list[object] = []
        self.deployer = Deployer(
            self.deployments,
            self.engine,
            "serving-0",
            lambda: 0.0,
            tell=self.told.append,
            at_start=at_start,
            at_once=at_once,
        )

    def champion(self, pipeline: str, version: int = 1):
        return self._champion_of(version, version, pipeline)

    def hear(self, pipeline: str, version: int = 1) -> None:
        self.deployer.hear(ModelPromoted(self.champion(pipeline, version)))

    async def history(self, *pipelines: str) -> None:
        for pipeline in pipelines:
            self.hear(pipeline)
        await self.deployer.carry_out()

    async def promote(self, pipeline: str, version: int = 1) -> None:
        self.hear(pipeline, version)
        await self.deployer.carry_out()

    async def ask(self, pipeline: str) -> int:
        await self.deployments.ready(pipeline)
        return self.deployments.current(pipeline).model.version

    def loaded(self) -> list[str]:
        return [champion.pipeline for champion in self.engine.loaded]


@pytest.fixture
def make_shelf(world, make_champion):
    def make(room: int, **more: int) -> Shelf:
        return Shelf(world, make_champion, room, **more)

    return make


def is_in_memory(shelf: Shelf, pipeline: str) -> bool:
    return shelf.deployments.is_hot(pipeline)


async def test_history_of_many_pipelines_loads_only_the_newest(make_shelf):
    shelf = make_shelf(100, at_start=2)
    await shelf.history(*(f"p{number}" for number in range(20)))

    assert sorted(shelf.loaded()) == ["p18", "p19"]
    assert (shelf.deployments.hot, shelf.deployments.cold) == (2, 18)


async def test_a_cold_champion_raises_and_answers_after_it_has_been_waited_for(make_shelf):
    shelf = make_shelf(100)
    await shelf.history("bikes")
    with pytest.raises(ModelNotLoadedError):
        shelf.deployments.current("bikes")
    with pytest.raises(ModelNotLoadedError):
        shelf.deployments.loaded("bikes")

    assert await shelf.ask("bikes") == 1
    assert shelf.deployments.current("unknown") is None


async def test_it_is_told_once_what_came_of_loading_what_history_had_left_for_later(make_shelf):
    shelf = make_shelf(1)
    await shelf.history("bikes", "taxis")
    assert shelf.deployer.outcome(shelf.champion("bikes")) is None
    for pipeline in ("bikes", "taxis", "bikes"):
        await shelf.ask(pipeline)

    assert shelf.loaded() == ["bikes", "taxis", "bikes"]
    assert [(type(one), one.champion.pipeline) for one in shelf.told] == [
        (ModelDeployed, "bikes"),
        (ModelDeployed, "taxis"),
    ]


async def test_however_many_wait_for_a_cold_champion_it_is_loaded_once(make_shelf, monkeypatch):
    shelf = make_shelf(100)
    await shelf.history("bikes")
    may_end, load = threading.Event(), shelf.engine.load

    def slowly(champion):
        assert may_end.wait(10)
        return load(champion)

    monkeypatch.setattr(shelf.engine, "load", slowly)
    asking = [asyncio.create_task(shelf.ask("bikes")) for _ in range(50)]
    await asyncio.sleep(0.01)
    asking[0].cancel()  # one goes away; the others get their answer
    may_end.set()

    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answers[0]), *answers[1:]] == [asyncio.CancelledError, *[1] * 49]
    assert shelf.loaded() == ["bikes"]


async def test_the_longest_unasked_goes_first_and_comes_back(make_shelf):
    shelf = make_shelf(2)
    await shelf.history("a", "b", "c")
    await shelf.ask("a")
    await shelf.ask("b")
    await shelf.ask("a")
    await shelf.ask("c")

    assert [is_in_memory(shelf, name) for name in "abc"] == [True, False, True]
    assert shelf.deployments.bytes == 2 * EACH
    assert await shelf.ask("b") == 1
    assert not is_in_memory(shelf, "a")


async def test_versions_before_the_champions_go_before_any_champion(make_shelf):
    shelf = make_shelf(3, at_start=9)
    await shelf.promote("a", 1)
    await shelf.promote("a", 2)
    await shelf.promote("b", 1)
    assert [len(shelf.deployments.loaded(name)) for name in "ab"] == [2, 1]
    await shelf.promote("b", 2)

    assert [len(shelf.deployments.loaded(name)) for name in "ab"] == [1, 2]
    assert [await shelf.ask(name) for name in "ab"] == [2, 2]


async def test_a_rollback_to_a_version_that_had_to_go_loads_it(make_shelf):
    shelf = make_shelf(1, at_start=9)
    await shelf.promote("a", 1)
    await shelf.promote("a", 2)
    back = shelf._champion_of(1, 3, "a")
    shelf.deployer.hear(ModelRolledBack(back, ModelVersionNumber(2)))
    await shelf.deployer.carry_out()

    assert await shelf.ask("a") == 1
    assert shelf.deployments.current("a").champion.epoch == 3
    assert [champion.version for champion in shelf.engine.loaded] == [1, 2, 1]


async def test_a_promotion_that_nobody_asked_for_is_tried_but_drives_out_nothing(make_shelf):
    shelf = make_shelf(1, at_start=9)
    await shelf.promote("a")
    await shelf.promote("b")

    assert shelf.loaded() == ["a", "b"]
    assert [is_in_memory(shelf, name) for name in "ab"] == [True, False]
    assert isinstance(shelf.deployer.outcome(shelf.champion("b")), ModelDeployed)
    assert await shelf.ask("b") == 1


async def test_a_champion_too_large_for_all_the_room_answers_alone(make_shelf):
    shelf = make_shelf(0)
    await shelf.history("a", "b")

    assert [await shelf.ask(name) for name in "abab"] == [1, 1, 1, 1]
    assert shelf.deployments.hot == 1


async def test_what_a_batch_needs_stays_together_until_it_is_done(make_shelf):
    shelf = make_shelf(1)
    await shelf.history("a", "b", "c")
    with pytest.raises(ModelNotLoadedError) as refusal:
        shelf.deployments.currents(["a", "b", "c"])
    assert set(refusal.value.pipelines) == {"a", "b", "c"}
    shelf.deployer.want("features/0", refusal.value.pipelines)
    for name in "abc":
        await shelf.deployments.ready(name)

    assert len(shelf.deployments.currents(["a", "b", "c"])) == 3
    shelf.deployments.hold("features/0", ())
    assert (shelf.deployments.hot, shelf.deployments.bytes) == (1, EACH)


async def test_a_store_that_is_away_is_told_to_who_waits_and_asked_again_next_time(make_shelf):
    shelf = make_shelf(100)
    await shelf.history("bikes")
    shelf.engine.away.add(1)
    with pytest.raises(TransientError, match="away"):
        await shelf.ask("bikes")

    shelf.engine.away.clear()
    assert await shelf.ask("bikes") == 1


async def test_a_champion_that_loads_no_more_gives_way_to_the_one_before_and_that_is_told(
    make_shelf,
):
    shelf = make_shelf(1)
    await shelf.promote("a", 1)
    await shelf.promote("a", 2)
    await shelf.ask("a")
    await shelf.promote("b")
    await shelf.ask("b")  # drives a out
    shelf.engine.broken.add(2)

    assert not is_in_memory(shelf, "a")
    assert await shelf.ask("a") == 1
    [failed] = [one for one in shelf.told if isinstance(one, DeploymentFailed)]
    assert (failed.champion.version, failed.reason) == (2, "memory://a/2 is broken")


async def test_when_none_of_its_champions_loads_there_is_none(make_shelf):
    shelf = make_shelf(100)
    await shelf.history("bikes")
    shelf.engine.broken.add(1)
    await shelf.deployments.ready("bikes")

    assert shelf.deployments.current("bikes") is None
    assert [type(one) for one in shelf.told] == [DeploymentFailed]


async def test_a_promotion_heard_while_the_champion_before_is_brought_back_wins(
    make_shelf, monkeypatch
):
    shelf = make_shelf(100)
    await shelf.history("bikes")
    may_end, load = threading.Event(), shelf.engine.load

    def slowly(champion):
        assert champion.version == 2 or may_end.wait(10)
        return load(champion)

    monkeypatch.setattr(shelf.engine, "load", slowly)
    asking = asyncio.create_task(shelf.ask("bikes"))
    await asyncio.sleep(0.01)
    shelf.hear("bikes", 2)
    promoting = asyncio.create_task(shelf.deployer.carry_out())
    await asyncio.sleep(0.01)
    may_end.set()
    await asyncio.gather(asking, promoting)

    assert await shelf.ask("bikes") == 2
    assert isinstance(shelf.deployer.outcome(shelf.champion("bikes", 2)), ModelDeployed)


async def test_promotions_leave_a_load_free_for_who_waits(make_shelf, monkeypatch):
    shelf = make_shelf(100)
    await shelf.history("waited-for")
    may_end, load = threading.Event(), shelf.engine.load

    def slowly(champion):
        assert champion.pipeline == "waited-for" or may_end.wait(10)
        return load(champion)

    monkeypatch.setattr(shelf.engine, "load", slowly)
    for number in range(20):
        shelf.hear(f"p{number}", 2)
    promoting = asyncio.create_task(shelf.deployer.carry_out())
    await asyncio.sleep(0.01)
    assert await shelf.ask("waited-for") == 1

    assert shelf.loaded() == ["waited-for"]
    may_end.set()
    await promoting
    assert len(shelf.loaded()) == 21


NAMES = st.sampled_from("abcde")
STEPS = st.lists(st.tuples(st.sampled_from(["swap", "ask", "defer"]), NAMES, st.integers(1, 4)))


class Sized:
    """A model of a size; nothing else of it is looked at here."""

    def __init__(self, memory: int) -> None:
        self.memory = memory


@settings(deadline=None)
@given(steps=STEPS, room=st.integers(0, 8))
def test_whatever_happens_the_sum_is_right_the_room_is_kept_and_no_champion_is_lost(steps, room):
    deployments, known = Deployments(room), {}
    for epoch, (kind, name, number) in enumerate(steps):
        champion = _champion(number, epoch, name)
        if kind == "swap":
            deployments.swap(Deployment(champion, Sized(number)), is_wanted=number % 2 == 0)
            known[name] = champion
        elif kind == "defer" and name not in known:
            deployments.defer(champion)
            known[name] = champion
        elif kind == "ask" and deployments.is_hot(name):
            assert deployments.current(name).champion is known[name]
        hot = [each for each in "abcde" if deployments.is_hot(each)]
        models = [one.model.memory for each in hot for one in deployments.loaded(each)]
        assert deployments.bytes == sum(models)
        assert deployments.bytes <= room or len(models) == 1
        assert {each for each in "abcde" if deployments.is_cold(each)} == known.keys() - set(hot)
        assert all(deployments.champions(each)[0] is known[each] for each in known)


def _champion(version, epoch, pipeline):
    return Champion(pipeline, 1, version, epoch, "", f"{version}", "", b"", "")
