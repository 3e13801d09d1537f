"""The whole registry on the in-memory broker and a real database, as others see it: topics and HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from millrace_artifacts.keys import SigningKey
from millrace_artifacts.seal import Statement, sealed
from millrace_bus import tables as bus
from millrace_bus.broker import TopicPartition
from millrace_bus.outputs import Outputs
from millrace_bus.retry import Backoff
from millrace_bus.sql import Database
from millrace_bus.sql_worker import SqlSettings, SqlWorker
from millrace_bus.topology import ensure_topics
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Cause
from millrace_contracts.wire import Encoder, WireTable
from millrace_kernel.time import Instant
from millrace_proto.v1 import (
    commands_pb2,
    deployments_pb2,
    drift_pb2,
    models_pb2,
    pipelines_pb2,
    training_pb2,
)
from millrace_registry.bootstrap import MIGRATIONS, Parts, assemble
from millrace_registry.entrypoints.http import create
from millrace_registry.entrypoints.worker import worker
from millrace_registry.settings import Settings
from millrace_telemetry.tracing import NO_TRACING
from millrace_testkit.clock import FixedClock
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker

TRAINING_KEY = SigningKey.made()
NOON = Instant(1_764_000_000_000_000)
TOPICS = {
    "training": (training_pb2.TrainingCompleted, training_pb2.ModelCardMade),
    "commands": (
        commands_pb2.ApprovePromotion,
        commands_pb2.RejectPromotion,
        commands_pb2.RollBack,
        commands_pb2.PausePipeline,
    ),
    "deployments": (deployments_pb2.DeploymentFailed,),
    "drift": (drift_pb2.ChallengerCompared,),
}
OTHERS = WireTable(
    {},
    [
        Encoder(
            kind,
            f"millrace.v1.{kind.DESCRIPTOR.name}",
            key=lambda proto: proto.pipeline,
            encode=lambda proto: proto.SerializeToString(),
        )
        for kinds in TOPICS.values()
        for kind in kinds
    ],
)
KINDS = {
    f"millrace.v1.{name}": kind
    for module in (models_pb2, pipelines_pb2, commands_pb2)
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
class Registry:
    """One registry process, and the topics around it."""

    parts: Parts
    broker: MemoryBroker
    worker: SqlWorker
    client: httpx2.AsyncClient
    said: dict[str, int] = field(default_factory=dict)

    def say(self, proto: Any, *, id: str = "", again: bool = False) -> str:  # noqa: A002
        """Append what another service or a person says; returns its id. `again` repeats it with the id it had."""
        topic = OTHERS.encoder(proto).topic
        count = self.said[topic] = self.said.get(topic, 0) + (0 if again else 1)
        cause = Cause(id or f"cause-{topic}-{count}", Instant(NOON + count), "chain")
        writes = "commands" not in topic
        outgoing = Outputs(f"test/{topic}", OTHERS, NO_TRACING).record(
            proto, cause, sequence(count, 0) if writes else None, 0
        )
        self.broker.append(TopicPartition(topic, 0), [outgoing])
        return dict(outgoing.headers)["ce_id"].decode()

    def heard(self, topic: str = "millrace.models") -> list[Any]:
        """What the registry has said on a topic."""
        return [
            KINDS[dict(record.headers)["ce_type"].decode()].FromString(record.value)
            for record in self.broker.records(topic)
        ]

    def dead(self, topic: str) -> list[dict[str, bytes]]:
        return [dict(record.headers) for record in self.broker.records(f"{topic}.dlq")]

    async def settled(self) -> None:
        """Everything that has been said was handled, and everything owed was published."""

        def quiet() -> bool:
            with self.parts.database.reading() as connection:
                positions = {
                    (row.topic, row.partition): row.next_offset
                    for row in connection.execute(select(bus.positions))
                }
                owed = connection.execute(select(bus.outbox.c.number)).first()
            read = all(
                positions.get(place, 0) == len(self.broker.logs[place])
                for topic in TOPICS
                for place in self.broker.places(f"millrace.{topic}")
            )
            return read and owed is None

        await eventually(quiet, within=30, what="all handled and published")

    async def apply(self, text: str) -> httpx2.Response:
        return await self.client.post("/v1/pipelines", content=text)

    async def get(self, path: str) -> Any:
        response = await self.client.get(f"/v1/pipelines{path}")
        assert response.status_code == 200, response.text
        return response.json()


def assembled(url: str, broker: MemoryBroker, home: Path) -> Parts:
    return assemble(
        Settings(registry_database_url=url, millrace_home=home),
        broker,
        chance=lambda: 0.5,
        clock=FixedClock(NOON),
    )


def registry_of(parts: Parts, broker: MemoryBroker) -> Registry:
    reader = worker(parts, SqlSettings(poll_seconds=0.05, backoff=Backoff(0.001, 0.01)))
    transport = httpx2.ASGITransport(app=create(parts, reader, reader.ready.is_set))
    return Registry(
        parts, broker, reader, httpx2.AsyncClient(transport=transport, base_url="http://registry")
    )


@pytest.fixture
async def broker() -> MemoryBroker:
    made = MemoryBroker()
    await ensure_topics(made)
    return made


@pytest.fixture
async def registry(
    database_url: str, broker: MemoryBroker, tmp_path: Path
) -> AsyncIterator[Registry]:
    made = registry_of(assembled(database_url, broker, tmp_path), broker)
    async with running(made.worker), made.client:
        yield made
    # a thread that was reading when the worker was cancelled gives its connection back first
    await asyncio.get_running_loop().shutdown_default_executor()
    made.parts.database.close()


@pytest.fixture
def second_registry(database_url: str, broker: MemoryBroker, tmp_path: Path):
    """Another process on the same database and topics, not yet running."""
    made = registry_of(assembled(database_url, broker, tmp_path), broker)
    yield made
    made.parts.database.close()


@pytest.fixture
async def applied(registry: Registry, bikes: str) -> Registry:
    """The registry with the bikes' file in force."""
    assert (await registry.apply(bikes)).status_code == 201
    await registry.settled()
    return registry


def completed(number: int = 1, **changes: Any) -> training_pb2.TrainingCompleted:
    """Run `number` as training tells it."""
    given = {
        "pipeline": "bikes",
        "pipeline_version": 1,
        "run_id": f"run-{number}",
        "run_number": number,
        "trigger": "drift",
        "cause_id": f"drift-{number}",
        "algorithm": "xgboost",
        "parameters_json": '{"max_depth":3}',
        "artifact_uri": f"file:///objects/{number}",
        "artifact_sha256": "ab" * 32,
        "dataset_uri": f"file:///datasets/{number}",
        "dataset_sha256": "cd" * 32,
        "train_rows": 900,
        "holdout_rows": 100,
        "metrics": {"mae": 50.0},
        "champion_metrics": {"mae": 60.0} if number > 1 else {},
        "champion_version": number - 1,
        "better_probability": 0.99,
        "reference_profile": b'{"columns":[]}',
        "fit_seconds": 1.5,
        "cpu_seconds": 2.5,
        "as_of_us": NOON,
    }
    proto = training_pb2.TrainingCompleted(**{**given, **changes})
    statement = Statement(
        proto.pipeline, proto.pipeline_version, proto.run_id, proto.artifact_sha256
    )
    seal = sealed(statement, TRAINING_KEY)
    proto.artifact_signature, proto.signing_key_id = seal.signature, seal.key_id
    return proto


@pytest.fixture(autouse=True)
def trusted(tmp_path) -> Path:
    """Where training's key is trusted."""
    folder = tmp_path / "keys" / "trusted"
    folder.mkdir(parents=True)
    (folder / "training.pem").write_bytes(TRAINING_KEY.public_pem)
    return folder


@pytest.fixture(name="completed")
def completed_fixture():
    return completed


@pytest.fixture
def others() -> WireTable:
    """How training, people and serving write."""
    return OTHERS


@pytest.fixture
def bikes(file) -> str:
    """The bikes' file, as text."""
    from millrace_contracts.pipeline_file import pipeline_to_yaml

    return pipeline_to_yaml(file())
