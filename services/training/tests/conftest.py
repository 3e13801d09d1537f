"""A database, a lake and an object store of one's own for each test, and a pipeline to fill them."""

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from millrace_artifacts.store import ObjectStore
from millrace_bus.sql import Database
from millrace_contracts.pipeline_file import read_pipeline
from millrace_kernel.ids import EntityId, EventId, PipelineName
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import HOUR, Instant, parse_rfc3339
from millrace_training import adapters
from millrace_training.adapters.lake.datasets import DatasetTaker
from millrace_training.adapters.lake.delta import DeltaLake
from millrace_training.adapters.lake.settling import Settler
from millrace_training.domain.events import FeaturesComputed, LabelObserved, LabelRetracted, Place

MIGRATIONS = Path(adapters.__file__).parent / "migrations"
BIKES = PipelineName("bikes")
BEGINNING = parse_rfc3339("2026-03-01T00:00:00Z")
FILE = """
metadata: {name: bikes}
spec:
  event: {id: id, time: timestamp, entity: station}
  fields: {temp: float, hum: float, weather: category}
  label: {field: cnt, kind: regression, delay: 0s}
  model:
    candidates: [linear]
    train_on: {last: 200, first: 60}
    holdout: {last: 20}
  retraining:
    cooldown: 12h
"""


@pytest.fixture
def file() -> str:
    return FILE


@pytest.fixture
def pipeline(file) -> Pipeline:
    return read_pipeline(file, version=1)


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    database.migrate(MIGRATIONS)
    yield database
    database.close()


@pytest.fixture
def lake(tmp_path) -> DeltaLake:
    return DeltaLake(f"file://{tmp_path / 'lake'}")


@pytest.fixture
def store(tmp_path) -> ObjectStore:
    return ObjectStore(f"file://{tmp_path / 'objects'}")


@pytest.fixture
def settler(database, lake) -> Settler:
    return Settler(database, lake)


@pytest.fixture
def taker(lake, store) -> DatasetTaker:
    return DatasetTaker(lake, store)


@dataclass
class World:
    """Makes what ingestion and features would send: event n happens at hour n, its truth is 10 n."""

    offsets: count = field(default_factory=count)

    def vector(
        self, number: int, *, version: int = 1, pipeline: PipelineName = BIKES
    ) -> FeaturesComputed:
        at = self.hour(number)
        numbers = (float(number), number % 7 / 7)
        place = Place("millrace.features", number % 2, next(self.offsets))
        weather = ("wet",) if number % 3 else ("dry",)
        return FeaturesComputed(
            pipeline, version, self.id(number), EntityId("s1"), at, numbers, weather, at, place
        )

    def label(
        self, number: int, value: float | str | None = None, *, after: int = 0
    ) -> LabelObserved:
        at = Instant(self.hour(number) + after)
        place = Place("millrace.labels", number % 2, next(self.offsets))
        return LabelObserved(
            BIKES, self.id(number), at, 10.0 * number if value is None else value, at, place
        )

    def retraction(self, number: int, *, after: int = 0) -> LabelRetracted:
        at = Instant(self.hour(number) + after)
        place = Place("millrace.labels", number % 2, next(self.offsets))
        return LabelRetracted(BIKES, self.id(number), at, at, place)

    def hour(self, number: int) -> Instant:
        return Instant(BEGINNING + number * HOUR)

    def id(self, number: int) -> EventId:
        return EventId(f"e{number:05d}")


@pytest.fixture
def world() -> World:
    return World()
