"""Promotions and rollbacks in a row under load, over HTTP: no failure, no answer of another version than it names.

The thousand in a row, with the process's memory, is `python -m benchmarks.models`.
"""

import asyncio
import gc
import json

import pytest

from millrace_artifacts.artifact import Example, read_artifact, write_artifact
from millrace_proto.v1.deployments_pb2 import DeploymentFailed, ModelDeployed
from millrace_serving.adapters.engine import ArtifactModel
from millrace_serving.application.errors import ModelNotLoadedError
from millrace_testkit.eventually import eventually

STEP = 10_000.0
SWAPS = 24
INFER = "/v2/models/bikes/infer"


def body(temp: float, datatype: str = "FP64") -> dict:
    inputs = [
        {"name": "temp", "datatype": datatype, "shape": [1], "data": [temp]},
        {"name": "hum", "datatype": "FP64", "shape": [1], "data": [0.5]},
        {"name": "weather", "datatype": "BYTES", "shape": [1], "data": ["rain"]},
    ]
    return {"inputs": inputs}


def who(response) -> int:
    """The version that the answer betrays, which must be the one that it names."""
    assert response.status_code == 200, response.text
    answer = json.loads(response.content)
    version = int(answer["outputs"][0]["data"][0] // STEP)
    assert answer["model_version"] == str(version)
    return version


class Load:
    """Clients that ask one question after the other, each in a way of its own, until told to stop.

    No answer may come from a version older than the one that answered when its question was put.
    """

    def __init__(self, client, clients: int = 2) -> None:
        self.answered = 0
        self.versions = [1]  # in the order in which they are to answer
        self.since = 0  # the place of the last one that surely does
        self.seen: set[int] = set()
        self._client = client
        self._is_over = False
        self._tasks = [asyncio.create_task(self._ask(number)) for number in range(clients)]

    async def _ask(self, number: int) -> None:
        # one half is understood by the hot path, the other takes the general way
        question = body(float(number)) if number % 2 else {**body(1.0), "parameters": {}}
        while not self._is_over:
            place = self.since
            version = who(await self._client.post(INFER, json=question))
            assert version in self.versions[place:]
            self.seen.add(version)
            self.answered += 1
            await asyncio.sleep(0.001)  # the loading thread wants the interpreter too

    async def more(self, count: int) -> None:
        """Return when so many answers more have been given."""
        wanted = self.answered + count
        while self.answered < wanted:
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)


def models_in_memory() -> int:
    gc.collect()
    return sum(isinstance(each, ArtifactModel) for each in gc.get_objects())


async def test_promotions_and_rollbacks_in_a_row_under_load(bed):
    before = models_in_memory()
    await bed.promote(1, epoch=1)
    async with bed.serving() as parts, bed.client(parts) as client:
        await bed.deployed(1)
        load = Load(client)
        for epoch in range(2, SWAPS + 2):
            is_rollback = epoch % 3 == 0
            load.versions.append(epoch - 2 if is_rollback else epoch)
            if is_rollback:
                await bed.roll_back(epoch - 2, epoch=epoch, previous=epoch - 1)
            else:
                await bed.promote(epoch, epoch=epoch)
            while parts.deployments.current("bikes").champion.epoch != epoch:
                await load.more(1)
            load.since += 1
            await load.more(4)
        await load.stop()
        assert models_in_memory() - before <= 2
        told = await bed.deployed(SWAPS + 1)

    assert all(isinstance(one, ModelDeployed) for one in told)
    assert [one.epoch for one in told] == list(range(1, SWAPS + 2))
    assert len(load.seen) > SWAPS / 3


def with_examples(content: bytes, *values: float) -> bytes:
    """The same artifact with examples that its model must answer so."""
    artifact = read_artifact(content)
    examples = tuple(Example((0.0, None), ("rain",), value, ()) for value in values)
    return write_artifact(
        type(artifact)(
            **{
                name: getattr(artifact, name) if name != "examples" else examples
                for name in artifact.__dataclass_fields__
            }
        )
    )


async def test_a_version_that_fails_one_of_its_examples_never_answers(bed, make_artifact):
    await bed.promote(1, epoch=1)
    async with bed.serving() as parts, bed.client(parts) as client:
        await bed.deployed(1)
        load = Load(client)
        content = with_examples(make_artifact(bed.pipeline, 2), 2 * STEP, 2 * STEP + 30)
        await bed.promote(2, epoch=2, stored=bed.stored(2, content))
        _, failed = await bed.deployed(2)
        await load.more(20)
        await load.stop()
        content = with_examples(make_artifact(bed.pipeline, 3), 3 * STEP, 3 * STEP)
        await bed.promote(3, epoch=3, stored=bed.stored(3, content))
        *_, deployed = await bed.deployed(3)

    assert isinstance(failed, DeploymentFailed)
    assert (failed.version, failed.epoch) == (2, 2)
    assert "to its own examples" in failed.reason
    assert load.seen == {1}
    assert isinstance(deployed, ModelDeployed)


@pytest.fixture
async def cold(bed):
    """An instance whose only champion is not in memory."""
    await bed.promote(1, epoch=1)
    parts = bed.instance(serving_loaded_at_start=0)
    async with bed.serving(parts):
        await eventually(lambda: parts.deployments.is_cold("bikes"))
        yield parts


async def test_a_cold_champion_answers_its_first_request_and_never_the_fallback_for_it(bed, cold):
    async with bed.client(cold) as client:
        responses = await asyncio.gather(*(client.post(INFER, json=body(7.0)) for _ in range(20)))

    assert {who(response) for response in responses} == {1}
    [deployed] = await bed.deployed(1)
    assert (deployed.version, deployed.instance) == (1, "serving-0")


async def test_a_cold_champion_answers_the_stream_and_never_the_fallback_for_it(bed, cold):
    await bed.vectors(range(40))
    predictions = await bed.answered(40)

    assert {(one.model_version, one.epoch) for one in predictions} == {(1, 1)}


async def test_what_is_asked_about_a_cold_champion_is_known(bed, cold):
    async with bed.client(cold) as client:
        index = (await client.post("/v2/repository/index", json={})).json()
        ready = await client.get("/v2/models/bikes/versions/1/ready")
        unknown = await client.get("/v2/models/bikes/versions/9/ready")
        assert cold.deployments.is_cold("bikes")  # nothing was loaded to say so
        metadata = (await client.get("/v2/models/bikes")).json()
        by_number = await client.post("/v2/models/bikes/versions/1/infer", json=body(1.0))

    assert [(one["version"], one["state"]) for one in index] == [("1", "READY")]
    assert (ready.status_code, unknown.status_code) == (200, 404)
    assert metadata["platform"] == "onnxruntime_onnx"
    assert who(by_number) == 1


async def test_a_cold_champion_that_does_not_load_is_told_though_nobody_promoted_it_now(
    bed, make_artifact
):
    stored = bed.stored(1)
    (bed.folder / "objects/models/v1.zip").write_bytes(b"damaged")
    await bed.promote(1, epoch=1, stored=stored)
    parts = bed.instance(serving_loaded_at_start=0)
    async with bed.serving(parts), bed.client(parts) as client:
        await eventually(lambda: parts.deployments.is_cold("bikes"))
        with pytest.raises(ModelNotLoadedError):
            parts.deployments.current("bikes")
        answer = (await client.post(INFER, json=body(5.0))).json()
        [failed] = await bed.deployed(1)

    assert isinstance(failed, DeploymentFailed)
    assert "was announced" in failed.reason
    assert answer["model_version"] == "0"  # as before the first champion: the fallback


async def test_more_champions_than_there_is_room_for_all_answer(bed, make_pipeline, make_artifact):
    """Two pipelines that drive each other out, asked in turn."""
    await bed.promote(1, epoch=1)
    parts = bed.instance(serving_model_bytes=1)
    async with bed.serving(parts), bed.client(parts) as client:
        first, bed.pipeline = bed.pipeline, make_pipeline("taxis")
        await bed.apply(bed.pipeline)
        stored = bed.store.put("models/taxis.zip", make_artifact(bed.pipeline, 2))
        await bed.promote(2, epoch=1, stored=stored)
        await eventually(lambda: parts.deployments.champions("taxis"))
        for _ in range(3):
            assert who(await client.post(INFER, json=body(1.0))) == 1
            taxis = await client.post("/v2/models/taxis/infer", json=body(1.0))
            assert who(taxis) == 2
            assert parts.deployments.hot == 1
        bed.pipeline = first
