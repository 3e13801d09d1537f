"""The plan that answers at once goes with its model, and leaves to the general way whatever only that knows."""

import asyncio
import gc

import orjson
import pytest

from millrace_kernel.errors import TransientError
from millrace_kernel.ids import PipelineName
from millrace_serving.application.deployments import Deployment

QUESTION = orjson.dumps(
    {
        "inputs": [
            {"name": "weather", "shape": [1], "datatype": "BYTES", "data": ["räin"]},
            {"name": "hum", "shape": [1, 1], "datatype": "INT32", "data": [3]},
            {"name": "temp", "shape": [1], "datatype": "FP64", "data": [None]},
        ]
    }
)


async def test_a_promotion_changes_the_plan_of_the_next_request_and_of_none_before(
    make_way, make_champion
):
    way = make_way()
    before = way.plans.plan("bikes")
    way.promote(make_champion(4, 5))
    after = way.plans.plan("bikes")

    assert [orjson.loads(plan.answer(QUESTION))["model_version"] for plan in (before, after)] == [
        "3",
        "4",
    ]
    assert way.plans.plan("bikes") is after


async def test_the_same_model_under_a_newer_epoch_has_a_plan_of_its_own(make_way, make_champion):
    way = make_way()
    before = way.plans.plan("bikes")
    way.deployments.swap(Deployment(make_champion(3, 9), way.model))

    assert way.plans.plan("bikes") is not before


async def test_a_plan_goes_with_its_model(make_way, make_champion):
    way = make_way()
    assert way.plans.plan("bikes")
    way.deployments._hot.clear()
    way.model = None
    gc.collect()

    assert not way.plans._held


async def test_a_model_that_was_loaded_again_has_a_plan_of_its_own(make_way, make_champion):
    way = make_way()
    champion = make_champion(3, 4)
    way.promote(champion)
    before = way.plans.plan("bikes")
    still_there = way.deployments.current(PipelineName("bikes"))  # a request may hold on to it
    way.promote(champion)

    assert way.plans.plan("bikes") is not before
    assert still_there.champion is champion


async def test_there_is_no_plan_where_only_the_general_way_knows_what_to_say(make_way):
    way = make_way()

    assert way.plans.plan("taxis") is None
    way.deployments._hot.clear()
    assert way.plans.plan("bikes") is None
    way.deployments._cold[PipelineName("bikes")] = object()
    assert way.plans.plan("bikes") is None


async def test_without_room_the_general_way_waits_for_it(make_way):
    way = make_way()
    way.publisher._room = 0
    assert way.plans.plan("bikes").answer(QUESTION) is None

    asking = asyncio.create_task(way.ask(QUESTION, by_plan=True))
    await asyncio.sleep(0.01)
    assert not asking.done()
    way.publisher._room = 10
    way.publisher._freed.set()

    assert (await asking)[0] == 200
    assert len(way.written()) == 1


async def test_while_too_many_are_under_way_the_refusal_has_the_general_ways_words(make_way):
    way = make_way()
    way.publisher._most_requests = 0

    hot = await way.ask(QUESTION, by_plan=True)

    assert hot == await way.ask(QUESTION, by_plan=False)
    assert (hot[0], dict(hot[1])[b"retry-after"]) == (503, b"2")
    with pytest.raises(TransientError):
        way.publisher.expecting()
