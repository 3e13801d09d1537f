"""The whole service on a broker in memory, and what its neighbours would send."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from millrace_artifacts.store import ObjectStore, Stored
from millrace_bus.retry import Backoff
from millrace_bus.sql_worker import SqlSettings
from millrace_bus.topology import ensure_topics
from millrace_contracts.catalogue import catalogue
from millrace_contracts.message import Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json, read_pipeline
from millrace_kernel.errors import TransientError
from millrace_kernel.time import HOUR, MINUTE, Instant, parse_rfc3339, rfc3339
from millrace_proto.v1 import (
    commands_pb2,
    drift_pb2,
    features_pb2,
    labels_pb2,
    models_pb2,
    pipelines_pb2,
    training_pb2,
)
from millrace_telemetry.tracing import Tracing
from millrace_testkit.eventually import eventually
from millrace_testkit.memory import MemoryBroker
from millrace_training.adapters.processes.children import Children
from millrace_training.bootstrap import Training, fit_children, training
from millrace_training.settings import Settings

BEGINNING = parse_rfc3339("2026-03-01T00:00:00Z")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Neighbours:
    """Ingestion, features, monitoring, registry and people, as far as training hears of them."""

    broker: MemoryBroker
    file: str
    numbers: count = field(default_factory=count)

    async def send(
        self, message: Any, at: Instant, *, trace: str | None = None, key: str = "bikes"
    ) -> str:
        """Publish a message; returns its id."""
        kind = f"millrace.v1.{type(message).__name__}"
        number = next(self.numbers)
        topic = catalogue().topic_of(kind)
        partition = number % topic.partitions
        headers = [
            ("ce_id", f"id-{number}".encode()),
            ("ce_source", f"test/{topic.name}".encode()),
            ("ce_type", kind.encode()),
            ("ce_sequence", b"%016d.00000" % number),
            ("ce_recordedtime", rfc3339(at).encode()),
            ("ce_correlationid", f"correlation-{number}".encode()),
        ]
        if trace:
            headers.append(("traceparent", trace.encode()))
        record = Outgoing(topic.name, key.encode(), message.SerializeToString(), headers)
        await self.broker.producer().send(topic.name, partition, [record])
        return f"id-{number}"

    async def apply(self, text: str | None = None, version: int = 1) -> None:
        spec = pipeline_to_json(read_pipeline(text or self.file, version=version))
        await self.send(
            pipelines_pb2.PipelineApplied(pipeline="bikes", version=version, spec_json=spec),
            BEGINNING,
        )

    async def vector(self, number: int, version: int = 1) -> str:
        message = features_pb2.FeaturesComputed(
            pipeline="bikes",
            pipeline_version=version,
            event_id=f"e{number:05d}",
            entity="s1",
            event_time_us=hour(number),
            numbers=[float(number), number % 7 / 7],
            categories=["wet" if number % 3 else "dry"],
        )
        return await self.send(message, hour(number))

    async def label(self, number: int, value: float | None = None) -> str:
        at = Instant(hour(number) + 30 * MINUTE)
        truth = 2.0 * number + number % 3 if value is None else value
        message = labels_pb2.LabelObserved(
            pipeline="bikes",
            pipeline_version=1,
            event_id=f"e{number:05d}",
            known_at_us=at,
            number=truth,
        )
        return await self.send(message, at)

    async def retract(self, number: int) -> str:
        at = Instant(hour(number) + 40 * MINUTE)
        message = labels_pb2.LabelRetracted(
            pipeline="bikes", pipeline_version=1, event_id=f"e{number:05d}", known_at_us=at
        )
        return await self.send(message, at)

    async def rows(self, first: int, last: int) -> None:
        for number in range(first, last):
            await self.vector(number)
            await self.label(number)

    async def drift(
        self, number: int, subject: str = "temp", trace: str | None = TRACEPARENT
    ) -> str:
        message = drift_pb2.DriftDetected(
            pipeline="bikes",
            kind=drift_pb2.DRIFT_KIND_DATA,
            subject=subject,
            method="psi",
            statistic=0.31,
            threshold=0.2,
            window_events=500,
        )
        return await self.send(message, hour(number), trace=trace)

    async def promote(self, completed: training_pb2.TrainingCompleted, epoch: int = 1) -> None:
        message = models_pb2.ModelPromoted(
            pipeline="bikes",
            pipeline_version=1,
            version=epoch,
            epoch=epoch,
            run_id=completed.run_id,
            algorithm=completed.algorithm,
            artifact_uri=completed.artifact_uri,
            artifact_sha256=completed.artifact_sha256,
            artifact_signature=completed.artifact_signature,
            signing_key_id=completed.signing_key_id,
        )
        await self.send(message, BEGINNING)

    async def command(self, message: Any) -> str:
        return await self.send(message, BEGINNING, trace=TRACEPARENT)

    async def retrain(self, pipeline: str = "bikes") -> str:
        return await self.command(
            commands_pb2.Retrain(pipeline=pipeline, actor="ada", reason="to see")
        )

    def said(self) -> list[tuple[str, Any, dict[str, str]]]:
        """What training said: type, message, headers; each id once."""
        found = {}
        for record in self.broker.records("millrace.training"):
            headers = {name: value.decode() for name, value in record.headers}
            name = headers["ce_type"].rpartition(".")[2]
            found[headers["ce_id"]] = (
                name,
                getattr(training_pb2, name).FromString(record.value),
                headers,
            )
        return list(found.values())

    def names(self) -> list[str]:
        return [name for name, _, _ in self.said()]

    async def hears(self, name: str, times: int = 1) -> list[tuple[Any, dict[str, str]]]:
        """Wait until training has said this so many times; what, with headers."""
        await eventually(
            lambda: self.names().count(name) >= times, within=60, what=f"{times} times {name}"
        )
        return [(message, headers) for kind, message, headers in self.said() if kind == name]


def hour(number: int) -> Instant:
    return Instant(BEGINNING + number * HOUR)


@pytest.fixture(scope="session")
def children():
    """One fork server for all: it loads the model libraries once."""
    children = fit_children()
    children.warm_up()
    return children


@pytest.fixture
def settings(tmp_path, database_url) -> Settings:
    return Settings(millrace_home=tmp_path / "home", training_database_url=database_url)


@pytest.fixture
async def neighbours(file) -> Neighbours:
    broker = MemoryBroker()
    await ensure_topics(broker)
    return Neighbours(broker, file)


QUICK = SqlSettings(max_records=50, poll_seconds=0.05, backoff=Backoff(0.001, 0.02))


@pytest.fixture
def service(settings, neighbours, children) -> Iterator[Training]:
    made = training(settings, neighbours.broker, chance=lambda: 0.5, children=children)
    yield replace(made, tracing=Tracing(TracerProvider(shutdown_on_exit=False)))
    made.database.close()


@pytest.fixture
def service_with(settings, neighbours) -> Iterator[Callable[..., Training]]:
    """Services with children of a test's own, and with other settings."""
    made = []

    def service_with(children: Children, **changed: object) -> Training:
        given = settings.model_copy(update=changed)
        made.append(training(given, neighbours.broker, chance=lambda: 0.5, children=children))
        return made[-1]

    yield service_with
    for service in made:
        service.database.close()


@pytest.fixture
def store_away(monkeypatch) -> Callable[[str], list[TransientError]]:
    """Lets the next two writes under a prefix fail: `store_away(prefix)` gives those that are still to come."""
    put = ObjectStore.put

    def store_away(prefix: str = "") -> list[TransientError]:
        coming = [TransientError("away"), TransientError("still away")]

        def put_later(store: ObjectStore, key: str, content: bytes) -> Stored:
            if key.startswith(prefix) and coming:
                raise coming.pop()
            return put(store, key, content)

        monkeypatch.setattr(ObjectStore, "put", put_later)
        return coming

    return store_away


@pytest.fixture
def quick() -> SqlSettings:
    return QUICK


@pytest.fixture
def parts(service):
    """New components, as after a restart."""
    return lambda: service.components(QUICK)
