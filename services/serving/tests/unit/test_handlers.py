import math

import pytest

from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.ids import derived_id
from millrace_serving.domain.answers import NO_ANSWER, Answer
from millrace_serving.domain.events import Role


async def test_before_the_first_champion_the_fallback_answers(
    make_world, make_pipeline, make_vector
):
    world = make_world(make_pipeline(fallback="temp"))

    [prediction] = world.predict([make_vector(numbers=(0.5, 0.2))])

    assert (prediction.role, prediction.model_version, prediction.epoch) == (Role.FALLBACK, 0, 0)
    assert prediction.answer == Answer(0.5)


async def test_without_a_fallback_there_is_a_prediction_without_an_answer(world, make_vector):
    [prediction] = world.predict([make_vector()])

    assert (prediction.role, prediction.answer) == (Role.FALLBACK, NO_ANSWER)


async def test_the_champion_answers_and_its_version_and_epoch_are_named(world, make_vector):
    await world.promote(version=3, epoch=7)
    vector = make_vector(numbers=(0.5, 0.2))

    [prediction] = world.predict([vector])

    assert (prediction.role, prediction.model_version, prediction.epoch) == (Role.CHAMPION, 3, 7)
    assert prediction.answer == Answer(3.5)
    assert prediction.vector == vector
    assert prediction.id == derived_id("prediction", "bikes", "e1")


async def test_a_batch_is_scored_in_one_call_and_answered_in_order(world, make_vector):
    await world.promote(version=1, epoch=1)

    predictions = world.predict(
        [make_vector(f"e{n}", (float(n), math.nan), ("",)) for n in range(5)]
    )

    assert [one.answer.value for one in predictions] == [1.0, 2.0, 3.0, 4.0, 5.0]
    [rows] = world.deployments.current("bikes").model.calls
    assert len(rows) == 5


async def test_pipelines_in_one_batch_are_told_apart_and_the_order_kept(
    world, make_pipeline, make_vector
):
    world.apply(make_pipeline("taxis", fallback="9"))
    await world.promote(version=1, epoch=1)

    predictions = world.predict(
        [
            make_vector("a"),
            make_vector("b", pipeline="taxis"),
            make_vector("c"),
            make_vector("d", pipeline="taxis"),
        ]
    )

    assert [one.vector.event_id for one in predictions] == ["a", "b", "c", "d"]
    assert [one.answer.value for one in predictions] == [1.5, 9.0, 1.5, 9.0]


async def test_a_vector_of_another_pipeline_version_is_mapped_by_name(
    world, make_pipeline, make_vector
):
    world.apply(world.pipeline, make_pipeline(version=2, fields="wind: float, temp: float"))
    await world.promote(version=1, epoch=1)

    [prediction] = world.predict(
        [make_vector(numbers=(99.0, 0.5), categories=(), pipeline_version=2)]
    )

    assert prediction.answer == Answer(1.5)
    assert prediction.vector.numbers == (99.0, 0.5)
    [rows] = world.deployments.current("bikes").model.calls
    assert rows.numbers[0, 0] == 0.5
    assert math.isnan(rows.numbers[0, 1])
    assert list(rows.categories) == [("",)]


async def test_a_vector_of_an_unknown_pipeline_version_waits(world, make_vector):
    with pytest.raises(TransientError, match="version 9 of pipeline bikes"):
        world.predict([make_vector(), make_vector(pipeline_version=9)])


async def test_a_vector_of_an_ended_pipeline_is_still_answered_or_rejected_but_never_waited_for(
    world, make_vector
):
    world.pipelines.end("bikes")
    world.pipelines.end("trams")

    answered, rejected = world.predict([make_vector(), make_vector(pipeline="trams")])

    assert answered.role is Role.FALLBACK
    assert isinstance(rejected, PermanentError)


async def test_a_vector_of_the_wrong_width_is_rejected_alone(world, make_vector):
    await world.promote(version=1, epoch=1)

    first, second, third = world.predict(
        [make_vector("a"), make_vector("b", numbers=(1.0,)), make_vector("c")]
    )

    assert isinstance(second, PermanentError)
    assert [first.vector.event_id, third.vector.event_id] == ["a", "c"]


async def test_nothing_gives_nothing(world):
    assert world.predict([]) == []
