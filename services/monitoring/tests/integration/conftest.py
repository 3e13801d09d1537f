"""The whole service on the in-memory broker and a real database, as others see it: topics and HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from sqlalchemy import select

from millrace_bus import tables as bus
from millrace_bus.broker import TopicPartition
from millrace_bus.outputs import Outputs
from millrace_bus.retry import Backoff
from millrace_bus.sql import Database
from millrace_bus.sql_worker import SqlSettings
from millrace_bus.topology import ensure_topics
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Cause
from millrace_contracts.pipeline_file import pipeline_to_json, read_pipeline
from millrace_contracts.wire import Encoder, WireTable
from millrace_kernel.profile import (
    ReferenceProfile,
    category_column,
    number_column,
    to_json,
)
from millrace_kernel.time import HOUR, MINUTE, Instant
from millrace_monitoring.bootstrap import MIGRATIONS, Parts, assemble
from millrace_monitoring.entrypoints.worker import TOPICS, worker
from millrace_monitoring.settings import Settings
from millrace_proto.v1 import alerts_pb2, drift_pb2
from millrace_proto.v1.labels_pb2 import LabelObserved, LabelRetracted
from millrace_proto.v1.models_pb2 import ModelPromoted, ModelRolledBack
from millrace_proto.v1.pipelines_pb2 import PipelineApplied
from millrace_proto.v1.predictions_pb2 import PredictionMade
from millrace_telemetry.tracing import NO_TRACING
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker

NOON = Instant(1_764_000_000_000_000)
WEATHERS = ("rain", "sun")
FILE = """
metadata: {name: %s}
spec:
  event:  {id: id, time: at}
  fields: {temp: float, hum: float, weather: category}
  label:  {field: cnt, kind: regression, delay: 1h}
  monitoring: {window: 100}
"""
_BY_EVENT = (PredictionMade, LabelObserved, LabelRetracted)
OTHERS = WireTable(
    {},
    [
        Encoder(
            kind,
            f"millrace.v1.{kind.DESCRIPTOR.name}",
            key=lambda proto: (
                f"{proto.pipeline}/{proto.event_id}"
                if isinstance(proto, _BY_EVENT)
                else proto.pipeline
            ),
            encode=lambda proto: proto.SerializeToString(),
        )
        for kind in (*_BY_EVENT, ModelPromoted, ModelRolledBack, PipelineApplied)
    ],
)
KINDS = {
    f"millrace.v1.{name}": kind
    for module in (alerts_pb2, drift_pb2)
    for name, kind in vars(module).items()
    if hasattr(kind, "FromString")
}


@pytest.fixture
def database(database_url):
    made = Database(database_url)
    made.migrate(MIGRATIONS)
    yield made
    made.close()


@dataclass
class World:
    """The topics, what others say on them, and monitoring processes that come and go."""

    url: str
    broker: MemoryBroker
    said: dict[TopicPartition, int] = field(default_factory=dict)
    processes: list[Parts] = field(default_factory=list)
    pipeline: str = "bikes"

    def say(self, proto: Any, at: Instant = NOON) -> str:
        """Append what another service says, as it would; returns the message's id."""
        encoder = OTHERS.encoder(proto)
        places = self.broker.places(encoder.topic)
        place = places[crc32(encoder.key(proto).encode()) % len(places)]
        count = self.said[place] = self.said.get(place, 0) + 1
        cause = Cause(f"cause-{place}-{count}", at, "chain")
        outgoing = Outputs(f"test/{place.topic}", OTHERS, NO_TRACING).record(
            proto, cause, sequence(count, 0), 0
        )
        self.broker.append(place, [outgoing])
        return dict(outgoing.headers)["ce_id"].decode()

    def apply(self) -> None:
        text = pipeline_to_json(read_pipeline(FILE % self.pipeline, version=1))
        self.say(PipelineApplied(pipeline=self.pipeline, version=1, spec_json=text))

    def promote(self, epoch: int = 1, mean: float = 15.0) -> str:
        return self.say(
            ModelPromoted(
                pipeline=self.pipeline,
                pipeline_version=1,
                version=epoch,
                epoch=epoch,
                reference_profile=to_json(a_profile(mean)),
            )
        )

    def predict(
        self,
        rng: np.random.Generator,
        numbers: Iterable[int],
        *,
        mean: float = 15.0,
        epoch: int = 1,
    ) -> dict[int, float]:
        """Predictions as the champion would make them; the answer of each event."""
        answers = {}
        for number in numbers:
            answers[number] = rng.normal(100.0, 20.0)
            proto = PredictionMade(
                pipeline=self.pipeline,
                pipeline_version=1,
                event_id=f"event-{number}",
                event_time_us=NOON + number * MINUTE,
                model_version=epoch,
                epoch=epoch,
                role=1,
                value=answers[number],
                numbers=(rng.normal(mean, 5.0), rng.random()),
                categories=(str(rng.choice(WEATHERS, p=(0.3, 0.7))),),
            )
            self.say(proto, Instant(NOON + number * MINUTE))
        return answers

    def label(
        self, rng: np.random.Generator, answers: dict[int, float], error: float = 10.0
    ) -> None:
        for number, answer in answers.items():
            proto = LabelObserved(
                pipeline=self.pipeline,
                event_id=f"event-{number}",
                number=answer + rng.normal(0.0, error),
            )
            self.say(proto, Instant(NOON + number * MINUTE + HOUR))

    def heard(self, topic: str = "millrace.drift") -> list[Any]:
        """What monitoring has said on a topic."""
        return [
            KINDS[dict(record.headers)["ce_type"].decode()].FromString(record.value)
            for record in self.broker.records(topic)
        ]

    def ids(self, topic: str = "millrace.drift") -> list[str]:
        return [dict(record.headers)["ce_id"].decode() for record in self.broker.records(topic)]

    @asynccontextmanager
    async def monitoring(self, max_records: int = 1_000):
        """One process, for the length of a block."""
        parts = assembled(self.url, self.broker)
        settings = SqlSettings(max_records, poll_seconds=0.05, backoff=Backoff(0.001, 0.01))
        self.processes.append(parts)
        async with running(worker(parts, settings)):
            yield parts

    async def settled(self, parts: Parts) -> None:
        """Everything that was said was handled, and everything owed was published."""

        def quiet() -> bool:
            done, owed = self._progress(parts)
            return not owed and all(
                done.get(place, 0) == len(self.broker.logs[place])
                for topic in TOPICS
                for place in self.broker.places(topic)
            )

        await eventually(quiet, within=60, what="all handled and published")

    def handled(self, parts: Parts) -> int:
        """How many messages are behind it."""
        return sum(self._progress(parts)[0].values())

    def progress_of_the_dead(self) -> int:
        """The same, when no process is there to be asked."""
        database = Database(self.url)
        try:
            with database.reading() as connection:
                return int(sum(connection.execute(select(bus.positions.c.next_offset)).scalars()))
        finally:
            database.close()

    def _progress(self, parts: Parts) -> tuple[dict[TopicPartition, int], bool]:
        with parts.database.reading() as connection:
            positions = {
                TopicPartition(row.topic, row.partition): row.next_offset
                for row in connection.execute(select(bus.positions))
            }
            return positions, connection.execute(select(bus.outbox.c.number)).first() is not None


def a_profile(mean: float) -> ReferenceProfile:
    rng = np.random.default_rng(42)
    return ReferenceProfile(
        columns=(
            number_column("temp", rng.normal(mean, 5.0, 5000).tolist()),
            number_column("hum", rng.random(5000).tolist()),
            category_column("weather", rng.choice(WEATHERS, 5000, p=(0.3, 0.7)).tolist()),
        ),
        prediction=number_column("prediction", rng.normal(100.0, 20.0, 1000).tolist()),
        metrics={"mae": 8.0},
        primary_metric="mae",
        rows=5000,
    )


def assembled(url: str, broker: MemoryBroker) -> Parts:
    return assemble(Settings(monitoring_database_url=url), broker, chance=lambda: 0.5)


@pytest.fixture
async def world(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[World]:
    """Topics on which nothing has been said yet. One partition each, as what a test says shall be heard in that order;
    `@pytest.mark.parametrize("world", [4], indirect=True)` makes more, which are read one after the other."""
    broker = MemoryBroker()
    await ensure_topics(broker, getattr(request, "param", 1))
    made = World(database_url, broker)
    yield made
    # a thread that was writing when its worker was cancelled gives its connection back first
    await asyncio.get_running_loop().shutdown_default_executor()
    for parts in made.processes:
        parts.database.close()
