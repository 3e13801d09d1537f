"""The stream is answered on the in-memory broker, with real ONNX artifacts: each vector once, by whoever is champion."""

from itertools import pairwise

import pytest

from millrace_artifacts.keys import SigningKey
from millrace_artifacts.seal import Seal
from millrace_bus.broker import TopicPartition
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import derived_id
from millrace_proto.v1.deployments_pb2 import DeploymentFailed, ModelDeployed
from millrace_proto.v1.pipelines_pb2 import PipelineApplied
from millrace_proto.v1.predictions_pb2 import PredictionMade, PredictionRole
from millrace_testkit.eventually import eventually

STEP = 10_000.0


def who(prediction: PredictionMade) -> int:
    """The version that the answer itself betrays."""
    return int(prediction.value // STEP)


def ids(predictions: list[PredictionMade]) -> list[int]:
    return sorted(int(prediction.event_id[1:]) for prediction in predictions)


async def test_promotions_in_the_middle_of_a_stream_answer_every_vector_once_and_change_the_version_once_each(
    bed,
):
    async with bed.serving():
        await bed.vectors(range(100))
        await bed.answered(100)
        await bed.promote(1, epoch=1)
        await bed.deployed(1)
        await bed.vectors(range(100, 200))
        await bed.answered(200)
        await bed.promote(2, epoch=2)
        await bed.vectors(range(200, 900))  # while it is being loaded
        predictions = await bed.answered(900)

    assert ids(predictions) == list(range(900))
    assert all(who(one) == one.model_version == one.epoch for one in predictions)
    assert {one.model_version for one in predictions if int(one.event_id[1:]) < 100} == {0}
    for number in range(4):
        mine = sorted(
            (int(one.event_id[1:]), one.model_version)
            for one in predictions
            if one.entity == f"station-{number}"
        )
        assert sum(before != after for (_, before), (_, after) in pairwise(mine)) == 2
    assert [(type(one), one.version) for one in bed.deployments()] == [
        (ModelDeployed, 1),
        (ModelDeployed, 2),
    ]


async def test_a_prediction_carries_the_vector_and_derives_its_id_from_the_event(bed):
    await bed.promote(1, epoch=1)
    async with bed.serving():
        await bed.vectors([15])
        [prediction] = await bed.answered(1)

    assert (prediction.role, prediction.pipeline_version) == (
        PredictionRole.PREDICTION_ROLE_CHAMPION,
        1,
    )
    assert prediction.value == 10015.0
    assert prediction.numbers[0] == 15.0
    assert prediction.numbers[1] != prediction.numbers[1]  # missing, as it came
    assert list(prediction.categories) == [""]
    [message] = bed.effective("millrace.predictions")
    assert message.id == derived_id("prediction", "bikes", "e15")
    assert message.key == b"bikes/e15"


async def test_a_rollback_answers_with_the_version_before_under_a_new_epoch(bed):
    async with bed.serving():
        await bed.promote(1, epoch=1)
        await bed.promote(2, epoch=2)
        await bed.vectors(range(20))
        await bed.answered(20)
        await bed.deployed(1)
        await bed.roll_back(1, epoch=3, previous=2)
        await eventually(lambda: bed.deployments()[-1].epoch == 3)
        await bed.vectors(range(20, 40))
        predictions = await bed.answered(40)

    late = [one for one in predictions if int(one.event_id[1:]) >= 20]
    assert {(one.model_version, one.epoch, who(one)) for one in late} == {(1, 3, 1)}


async def test_a_zombies_older_promotion_changes_nothing(bed):
    async with bed.serving():
        await bed.promote(2, epoch=5)
        await bed.deployed(1)
        await bed.promote(1, epoch=4)
        await bed.promote(3, epoch=5)
        await bed.promote(4, epoch=6)
        await bed.deployed(2)

    assert [(one.version, one.epoch) for one in bed.deployments()] == [(2, 5), (4, 6)]


async def test_a_broken_artifact_is_told_and_the_champion_before_goes_on_answering(bed):
    async with bed.serving():
        await bed.promote(1, epoch=1)
        await bed.deployed(1)
        await bed.promote(2, epoch=2, stored=bed.stored(2, b"not a model"))
        _, failed = await bed.deployed(2)
        await bed.vectors(range(20))
        predictions = await bed.answered(20)

    assert isinstance(failed, DeploymentFailed)
    assert (failed.version, failed.epoch, failed.instance) == (2, 2, "serving-0")
    assert "not a readable zip" in failed.reason
    assert {(one.model_version, one.epoch) for one in predictions} == {(1, 1)}


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (lambda bed, stored: Seal("", b""), "is not signed"),
        (lambda bed, stored: bed.sealed(2, stored, SigningKey.made()), "which is not trusted here"),
        (lambda bed, stored: bed.sealed(3, stored), "was changed after signing"),
        (lambda bed, stored: bed.sealed(2, bed.stored(1)), "was changed after signing"),
    ],
    ids=["no signature", "an unknown key", "another run's", "another artifact's"],
)
async def test_a_model_that_nobody_trusted_has_signed_is_told_and_the_champion_before_goes_on_answering(
    bed, forge, words
):
    async with bed.serving():
        await bed.promote(1, epoch=1)
        await bed.deployed(1)
        stored = bed.stored(2)
        await bed.promote(2, epoch=2, stored=stored, seal=forge(bed, stored))
        _, failed = await bed.deployed(2)
        await bed.vectors(range(8))
        predictions = await bed.answered(8)
        await bed.promote(2, epoch=3, stored=stored)
        *_, deployed = await bed.deployed(3)

    assert isinstance(failed, DeploymentFailed)
    assert (failed.version, failed.epoch) == (2, 2)
    assert words in failed.reason
    assert {(one.model_version, one.epoch) for one in predictions} == {(1, 1)}
    assert isinstance(deployed, ModelDeployed)
    assert deployed.epoch == 3


async def test_an_artifact_that_is_not_what_was_announced_is_refused(bed, make_artifact):
    stored = bed.stored(2)
    (bed.folder / "objects/models/v2.zip").write_bytes(make_artifact(bed.pipeline, 7))
    async with bed.serving():
        await bed.promote(2, epoch=1, stored=stored)
        [failed] = await bed.deployed(1)

    assert "was announced" in failed.reason


async def test_after_a_restart_in_the_middle_the_rest_is_answered_by_the_champion_and_nothing_twice(
    bed,
):
    await bed.promote(1, epoch=1)
    await bed.promote(2, epoch=2)
    await bed.vectors(range(4_000))
    async with bed.serving():
        await eventually(bed.predictions)
    assert 0 < len(bed.predictions()) < 4_000
    async with bed.serving():
        predictions = await bed.answered(4_000)

    assert ids(predictions) == list(range(4_000))
    assert {one.role for one in predictions} == {PredictionRole.PREDICTION_ROLE_CHAMPION}
    assert {who(one) for one in predictions} == {2}
    assert [(one.version, one.epoch) for one in bed.deployments()] == [(2, 2)]


async def test_lost_sends_and_lost_acknowledgements_neither_lose_nor_double_an_answer(bed):
    errands = iter(["acknowledge", "append", "acknowledge"])
    wanted = next(errands)

    def fault(errand: str, place: TopicPartition) -> None:
        nonlocal wanted
        if place.topic == "millrace.predictions" and errand == wanted:
            wanted = next(errands, "")
            raise TransientError(f"{errand} failed")

    await bed.promote(1, epoch=1)
    async with bed.serving():
        await bed.deployed(1)
        bed.broker.fault = fault
        for start in range(0, 400, 20):
            await bed.vectors(range(start, start + 20))
        predictions = await bed.answered(400)

    assert ids(predictions) == list(range(400))
    assert len(bed.broker.records("millrace.predictions")) > 400


async def test_a_lost_deployment_message_is_sent_again(bed):
    faults = iter([True])

    def fault(errand: str, place: TopicPartition) -> None:
        if place.topic == "millrace.deployments" and errand == "append" and next(faults, False):
            raise TransientError("append failed")

    bed.broker.fault = fault
    async with bed.serving():
        await bed.promote(1, epoch=1)
        [deployed] = await bed.deployed(1)

    assert (deployed.version, deployed.instance) == (1, "serving-0")
    assert 0 < deployed.load_seconds < 10


async def test_a_vector_whose_columns_differ_from_the_models_is_mapped_by_name(bed, make_pipeline):
    await bed.promote(1, epoch=1)
    newer = make_pipeline(version=2, fields="wind: float, temp: float, weather: category")
    async with bed.serving():
        await bed.apply(newer, bed.pipeline)
        await bed.vectors([1], version=1)
        await bed.vectors([2], version=2, numbers=lambda _: [77.0, 5.0])
        predictions = await bed.answered(2)

    assert {one.event_id: one.value for one in predictions} == {"e1": 10001.0, "e2": 10005.0}


async def test_vectors_of_a_pipeline_version_that_is_on_its_way_wait_for_it(bed, make_pipeline):
    async with bed.serving():
        await bed.vectors([1], version=2)
        await bed.apply(make_pipeline(version=2, fallback="temp"), bed.pipeline)
        [prediction] = await bed.answered(1)

    assert (prediction.pipeline_version, prediction.value) == (2, 1.0)


async def test_a_malformed_vector_goes_to_the_dead_letters_and_the_stream_goes_on(bed):
    async with bed.serving():
        await bed.vectors([1, 5], numbers=lambda number: [1.0] if number == 1 else [2.0, 3.0])
        [prediction] = await bed.answered(1)

    assert prediction.event_id == "e5"
    [letter] = bed.broker.records("millrace.features.dlq")
    assert b"the vector has 1 numbers" in dict(letter.headers)["kafka_dlt-exception-message"]


async def test_each_instance_tells_what_it_deployed(bed):
    await bed.promote(1, epoch=1)
    async with bed.serving(bed.instance("serving-0")), bed.serving(bed.instance("serving-1")):
        found = await bed.deployed(2)

    assert {(one.instance, one.version) for one in found} == {("serving-0", 1), ("serving-1", 1)}


async def test_a_pipeline_file_that_is_not_understood_is_skipped_and_the_next_one_counts(
    bed, make_pipeline
):
    async with bed.serving():
        broken = PipelineApplied(pipeline="bikes", version=2, spec_json="{}")
        await bed.send("millrace.pipelines", 0, "PipelineApplied", "bikes", broken)
        await bed.apply(make_pipeline(version=3, fallback="temp"), bed.pipeline)
        await bed.vectors([1], version=3)
        [prediction] = await bed.answered(1)

    assert prediction.pipeline_version == 3
