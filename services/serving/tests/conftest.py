"""What serving's tests share: pipelines, vectors, and the fakes of the ports."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.ids import EntityId, EventId, ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import LabelKind, Pipeline
from millrace_kernel.time import Instant
from millrace_serving.application.deployer import Deployer
from millrace_serving.application.deployments import Deployments
from millrace_serving.application.handlers import on_vectors
from millrace_serving.application.inference import Inference
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.statistics import Statistics
from millrace_serving.domain.answers import Scores
from millrace_serving.domain.champions import Champion, ModelPromoted
from millrace_serving.domain.columns import Columns, Rows, Signature
from millrace_serving.domain.events import FeaturesComputed, PipelineApplied, PredictionMade

NOON = Instant(1_764_000_000_000_000)

FILE = """
apiVersion: millrace/v1
kind: Pipeline
metadata: {{name: {name}}}
spec:
  event:  {{id: id, time: at}}
  fields: {{{fields}}}
  label:  {{field: cnt, kind: {kind}}}
  model:  {{fallback: {fallback}}}
"""


def pipeline_file(
    name: str = "bikes",
    version: int = 1,
    fields: str = "temp: float, hum: float, weather: category",
    kind: str = "regression",
    fallback: str = "null",
) -> Pipeline:
    return read_pipeline(
        FILE.format(name=name, fields=fields, kind=kind, fallback=fallback), version=version
    )


def champion_of(
    version: int, epoch: int, pipeline: str = "bikes", pipeline_version: int = 1
) -> Champion:
    return Champion(
        pipeline=PipelineName(pipeline),
        pipeline_version=pipeline_version,
        version=ModelVersionNumber(version),
        epoch=epoch,
        artifact_uri=f"memory://{pipeline}/{version}",
        artifact_sha256=f"{version:064x}",
        run_id=f"run-{version}",
        artifact_signature=b"",
        signing_key_id="",
    )


def vector_of(
    event_id: str = "e1",
    numbers: tuple[float, ...] = (0.5, 0.2),
    categories: tuple[str, ...] = ("rain",),
    pipeline: str = "bikes",
    pipeline_version: int = 1,
) -> FeaturesComputed:
    return FeaturesComputed(
        PipelineName(pipeline),
        pipeline_version,
        EventId(event_id),
        EntityId("station-7"),
        Instant(1_000),
        numbers,
        categories,
    )


@dataclass
class FakeModel:
    """Answers with its version plus the first number, so that an answer tells who gave it."""

    signature: Signature
    version: int
    platform: str = "fake_fake"
    memory: int = 1_000
    calls: list[Rows] = field(default_factory=list)

    def score(self, rows: Rows) -> Scores:
        assert rows.columns == self.signature.columns
        self.calls.append(rows)
        if self.signature.kind is LabelKind.MULTICLASS:
            winner = self.version % len(self.signature.classes)
            return Scores(
                probabilities=np.tile(np.eye(len(self.signature.classes))[winner], (len(rows), 1))
            )
        if self.signature.kind is LabelKind.BINARY:
            return Scores(values=np.full(len(rows), self.version / 10))
        return Scores(values=self.version + np.nan_to_num(rows.numbers[:, 0]))


class FakeEngine:
    """Loads what was put into it; what was broken or taken away fails as it would in the object store."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.broken: set[int] = set()
        self.away: set[int] = set()
        self.loaded: list[Champion] = []

    def load(self, champion: Champion) -> FakeModel:
        if champion.version in self.broken:
            raise PermanentError(f"{champion.artifact_uri} is broken")
        if champion.version in self.away:
            raise TransientError("the object store is away")
        self.loaded.append(champion)
        return FakeModel(self.signature, champion.version)


class FakePublisher:
    """Takes everything over; `room` says how much it takes before it lets others wait."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.published: list[PredictionMade] = []
        self.room = room
        self._changed = asyncio.Condition()

    @contextmanager
    def expecting(self) -> Iterator[None]:
        yield

    async def publish(self, predictions: Sequence[PredictionMade]) -> None:
        for prediction in predictions:
            async with self._changed:
                await self._changed.wait_for(lambda: len(self.published) < self.room)
                self.published.append(prediction)

    async def make_room(self, room: int) -> None:
        async with self._changed:
            self.room = room
            self._changed.notify_all()


@dataclass
class FakeClock:
    at: Instant = NOON

    def now(self) -> Instant:
        return self.at


class World:
    """One serving instance on fakes."""

    def __init__(self, pipeline: Pipeline, classes: tuple[str, ...] = ()) -> None:
        self.pipeline = pipeline
        self.engine = FakeEngine(Signature(Columns.of(pipeline), pipeline.label.kind, classes))
        self.publisher = FakePublisher()
        self.seconds = 100.0
        self.pipelines = Pipelines()
        self.deployments = Deployments()
        self.deployer = Deployer(self.deployments, self.engine, "serving-0", lambda: self.seconds)
        self.nanoseconds = itertools.count(step=1_000)  # each reading is a microsecond later
        self.statistics = Statistics(FakeClock(), self.nanoseconds.__next__)
        self.inference = Inference(
            self.pipelines,
            self.deployments,
            self.publisher,
            FakeClock(),
            "serving-0",
            self.statistics,
        )
        self.apply(pipeline)

    def apply(self, *versions: Pipeline) -> None:
        self.pipelines.apply(PipelineApplied(versions[-1].name, versions))

    async def promote(self, version: int, epoch: int, pipeline: str = "bikes") -> None:
        self.deployer.hear(ModelPromoted(champion_of(version, epoch, pipeline)))
        await self.deployer.carry_out()

    def predict(self, vectors: Sequence[FeaturesComputed]) -> list[PredictionMade | PermanentError]:
        return on_vectors(vectors, self.pipelines, self.deployments)

    def ask(self, body: object, version: str | None = None) -> dict[str, object]:
        return self.inference.answer(self.pipeline.name, version, body).response


@pytest.fixture
def make_pipeline() -> Callable[..., Pipeline]:
    return pipeline_file


@pytest.fixture
def make_champion() -> Callable[..., Champion]:
    return champion_of


@pytest.fixture
def make_vector() -> Callable[..., FeaturesComputed]:
    return vector_of


@pytest.fixture
def make_world() -> Callable[..., World]:
    return World


@pytest.fixture
def world() -> World:
    return World(pipeline_file())
