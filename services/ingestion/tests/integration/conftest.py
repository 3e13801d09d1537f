"""A whole instance of ingestion on the broker in memory."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from millrace_bus.broker import TopicPartition
from millrace_bus.retry import Backoff
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Message, Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_ingestion.bootstrap import Parts, assemble
from millrace_ingestion.entrypoints.http import app
from millrace_ingestion.entrypoints.worker import components
from millrace_ingestion.settings import Settings
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant
from millrace_proto.v1 import events_pb2, labels_pb2
from millrace_proto.v1.pipelines_pb2 import PipelineApplied
from millrace_telemetry.tracing import Tracing
from millrace_testkit.clock import FixedClock
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker

APPLIED = "millrace.v1.PipelineApplied"
OUTPUTS = {
    "millrace.v1.EventAccepted": events_pb2.EventAccepted,
    "millrace.v1.EventLabelled": events_pb2.EventLabelled,
    "millrace.v1.LabelObserved": labels_pb2.LabelObserved,
    "millrace.v1.LabelRetracted": labels_pb2.LabelRetracted,
}


class World:
    """A broker with Millrace's topics, and what tests do to it and ask of it."""

    def __init__(self, now: Instant, folder: Path) -> None:
        self.broker = MemoryBroker(now=lambda: now)
        self.clock = FixedClock(now)
        self.folder = folder

    async def apply(self, pipeline: Pipeline) -> None:
        applied = PipelineApplied(
            pipeline=pipeline.name,
            version=pipeline.version,
            spec_json=pipeline_to_json(pipeline),
        )
        headers = [("ce_type", APPLIED.encode()), ("ce_id", f"{pipeline.version}".encode())]
        record = Outgoing(
            "millrace.pipelines", pipeline.name.encode(), applied.SerializeToString(), headers
        )
        await self.broker.producer().send("millrace.pipelines", 0, [record])

    async def end(self, name: str) -> None:
        await self.broker.producer().send(
            "millrace.pipelines", 0, [Outgoing("millrace.pipelines", name.encode(), None, [])]
        )

    async def send(
        self, value: Any, topic: str = "millrace.raw.bikes", partition: int = 0, **headers: bytes
    ) -> None:
        """Append as a user's producer would."""
        content = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
        record = Outgoing(topic, b"key", content, list(headers.items()))
        await self.broker.producer().send(topic, partition, [record])

    def parts(self, tracing: Tracing | None = None, **settings: Any) -> Parts:
        made = Settings(
            ingestion_state_dir=self.folder, **({"ingestion_append_seconds": 0.3} | settings)
        )
        parts = assemble(made, broker=self.broker, clock=self.clock)
        quick = replace(parts.stream, poll_seconds=0.02, backoff=Backoff(0.001, 0.01))
        return replace(parts, stream=quick, tracing=tracing or parts.tracing)

    @asynccontextmanager
    async def ingesting(self, **settings: Any) -> AsyncIterator[Parts]:
        parts = self.parts(**settings)
        async with running(*components(parts)):
            yield parts

    def outputs(self) -> list[Any]:
        """Everything that was published, decoded, in the order of each partition."""
        return [
            OUTPUTS[message.type].FromString(message.value)
            for topic in ("millrace.events", "millrace.labels")
            for message in map(Message, self.broker.records(topic))
        ]

    def kinds(self) -> list[str]:
        return [type(output).__name__ for output in self.outputs()]

    def dead(self, topic: str = "millrace.raw.bikes") -> list[tuple[bytes | None, str]]:
        """Each dead letter's value, and why it is one."""
        return [
            (record.value, dict(record.headers)["kafka_dlt-exception-message"].decode())
            for record in self.broker.records(topic + ".dlq")
        ]

    async def has_topic(self, name: str) -> None:
        await eventually(lambda: TopicPartition(name, 0) in self.broker.logs, what=name)


Ingesting = Callable[..., AbstractAsyncContextManager[Parts]]


@pytest.fixture
async def world(noon: Instant, tmp_path: Path) -> World:
    world = World(noon, tmp_path / "ingestion")
    await ensure_topics(world.broker)
    return world


class Client:
    """Posts as users do."""

    def __init__(self, http: httpx2.AsyncClient, parts: Parts) -> None:
        self.get = http.get
        self.parts = parts
        self._http = http

    async def post_chunks(self, path, chunks):
        headers = {"content-type": "application/json"}
        return await self._http.post(path, content=chunks, headers=headers)

    async def post(self, path, body, content_type="application/json", **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {
            "content-type": content_type,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await self._http.post(path, content=content, headers=sent)


Serving = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def serving(world: World) -> Serving:
    """An instance with these settings, and who posts to it."""

    @asynccontextmanager
    async def started(**settings: Any) -> AsyncIterator[Client]:
        async with world.ingesting(**settings) as parts:
            transport = httpx2.ASGITransport(app=app(parts, parts.raw_topics.ready.is_set))
            async with httpx2.AsyncClient(transport=transport, base_url="http://ingestion") as http:
                yield Client(http, parts)

    return started


@pytest.fixture
async def bikes(world: World, pipeline: Callable[..., Pipeline]) -> World:
    """The world with one pipeline in it."""
    await world.apply(pipeline())
    return world


@pytest.fixture
async def client(bikes: World, serving: Serving) -> AsyncIterator[Client]:
    async with serving() as client:
        await bikes.has_topic("millrace.raw.bikes")
        yield client
