import asyncio

import pytest

from millrace_kernel.ids import derived_id
from millrace_serving.application.errors import NoAnswerError, UnknownModelError
from millrace_serving.domain.answers import Answer
from millrace_serving.domain.events import Role
from millrace_serving.domain.tensors import RequestRefusedError


def body(temps: list[float], request_id: str | None = None) -> dict:
    given = {
        "inputs": [
            {"name": "temp", "datatype": "FP64", "shape": [len(temps)], "data": temps},
            {"name": "hum", "datatype": "FP64", "shape": [len(temps)], "data": [0.2] * len(temps)},
            {
                "name": "weather",
                "datatype": "BYTES",
                "shape": [len(temps)],
                "data": ["rain"] * len(temps),
            },
        ]
    }
    return given | ({"id": request_id} if request_id else {})


async def test_an_answer_names_the_version_that_made_it_and_echoes_the_id(world):
    await world.promote(version=3, epoch=4)

    assert world.ask(body([0.5], "r1")) == {
        "model_name": "bikes",
        "model_version": "3",
        "id": "r1",
        "outputs": [{"name": "value", "datatype": "FP64", "shape": [1], "data": [3.5]}],
    }


async def test_every_row_becomes_a_prediction_of_its_own(world):
    await world.promote(version=3, epoch=4)

    answered = world.inference.answer("bikes", None, body([0.5, 1.5], "r1"))
    first, second = answered.predictions

    assert [one.vector.event_id for one in answered.predictions] == ["r1/0", "r1/1"]
    assert (first.role, first.model_version, first.epoch, first.vector.pipeline_version) == (
        Role.REQUEST,
        3,
        4,
        1,
    )
    assert first.vector.numbers == (0.5, 0.2)
    assert first.vector.categories == ("rain",)
    assert second.answer == Answer(4.5)


async def test_a_request_of_one_row_is_known_by_its_own_id_and_is_another_prediction_than_the_streams(
    world, make_vector
):
    await world.promote(version=1, epoch=1)

    [prediction] = world.inference.answer("bikes", None, body([0.5], "e1")).predictions

    assert prediction.vector.event_id == "e1"
    assert prediction.id not in ("", derived_id("prediction", "bikes", "e1"))


async def test_a_request_without_an_id_gets_one_of_its_own(world):
    await world.promote(version=1, epoch=1)

    first, second = world.ask(body([0.5])), world.ask(body([0.5]))

    assert first["id"] != second["id"]


async def test_publishing_waits_while_the_stream_has_no_room_and_drops_nothing(world):
    await world.promote(version=1, epoch=1)
    answered = world.inference.answer("bikes", None, body([0.5, 1.5], "r1"))
    await world.publisher.make_room(1)

    publishing = asyncio.create_task(world.inference.publish(answered))
    await asyncio.sleep(0.01)
    assert not publishing.done()

    await world.publisher.make_room(2)
    await publishing
    assert tuple(world.publisher.published) == answered.predictions


async def test_before_the_first_champion_the_fallback_answers_as_version_0(
    make_world, make_pipeline
):
    world = make_world(make_pipeline(fallback="temp"))

    response = world.ask(body([0.5, 1.5]))

    assert response["model_version"] == "0"
    assert response["outputs"][0]["data"] == [0.5, 1.5]
    assert world.inference.is_ready("bikes", None)


async def test_the_fallback_of_a_multiclass_pipeline_is_a_category(make_world, make_pipeline):
    world = make_world(make_pipeline(kind="multiclass", fallback="weather"), ("sun", "rain"))

    outputs = world.ask(body([0.5]))["outputs"]

    assert outputs[0]["data"] == ["rain"]
    assert (outputs[1]["shape"], outputs[1]["data"]) == ([1, 0], [])


async def test_without_a_champion_or_a_fallback_there_is_no_answer_yet(world):
    assert not world.inference.is_ready("bikes", None)
    with pytest.raises(NoAnswerError, match="bikes"):
        world.ask(body([0.5]))


async def test_a_loaded_version_can_be_asked_for_and_others_cannot(world):
    for number in (1, 2, 3):
        await world.promote(version=number, epoch=number)

    assert world.ask(body([0.5]))["model_version"] == "3"
    assert world.ask(body([0.5]), "2")["model_version"] == "2"
    with pytest.raises(UnknownModelError, match="loaded: 3, 2"):
        world.ask(body([0.5]), "1")


async def test_an_unknown_or_ended_pipeline_is_refused(world):
    with pytest.raises(UnknownModelError, match="known: bikes"):
        world.inference.answer("taxis", None, body([0.5]))
    world.pipelines.end("bikes")
    with pytest.raises(UnknownModelError, match="known: none yet"):
        world.ask(body([0.5]))


async def test_a_wrong_request_is_refused(world):
    await world.promote(version=1, epoch=1)

    with pytest.raises(RequestRefusedError, match="missing inputs: hum, weather"):
        world.ask({"inputs": body([0.5])["inputs"][:1]})


async def test_metadata_tells_what_to_send_and_what_comes_back(make_world, make_pipeline):
    world = make_world(make_pipeline(kind="multiclass"), ("a", "b"))
    await world.promote(version=1, epoch=1)
    await world.promote(version=2, epoch=2)

    metadata = world.inference.metadata("bikes", None)

    assert (metadata["name"], metadata["versions"], metadata["platform"]) == (
        "bikes",
        ["2", "1"],
        "fake_fake",
    )
    assert [one["name"] for one in metadata["inputs"]] == ["temp", "hum", "weather"]
    assert metadata["outputs"][1] == {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]}


async def test_metadata_of_a_pipeline_without_a_champion_describes_the_fallback(world):
    metadata = world.inference.metadata("bikes", None)

    assert (metadata["versions"], metadata["platform"]) == ([], "millrace_fallback")


async def test_an_older_pipeline_file_heard_again_does_not_replace_the_newer(world, make_pipeline):
    world.apply(make_pipeline(version=2, fields="wind: float"))
    world.apply(make_pipeline(version=1))

    assert [one["name"] for one in world.inference.metadata("bikes", None)["inputs"]] == ["wind"]
