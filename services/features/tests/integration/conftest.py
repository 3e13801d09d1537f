"""An instance of features on the in-memory broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import pytest

from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Message, Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_features.bootstrap import assemble
from millrace_features.entrypoints.worker import components
from millrace_features.settings import Settings
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import SECOND, Instant, rfc3339
from millrace_proto.v1.events_pb2 import EventAccepted, EventLabelled
from millrace_proto.v1.features_pb2 import FeaturesComputed
from millrace_proto.v1.pipelines_pb2 import PipelineApplied
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker, MemoryRecord

NOON = Instant(1_764_000_000_000_000)
EVENTS, PIPELINES, FEATURES = "millrace.events", "millrace.pipelines", "millrace.features"
DEAD_LETTERS = "millrace.events.dlq"


@dataclass
class Bed:
    """What others write, and what the world sees of the vectors."""

    folder: Path
    broker: MemoryBroker
    written: dict[str, int] = field(default_factory=dict)

    @asynccontextmanager
    async def features(self) -> AsyncIterator[None]:
        """An instance; the state outlives it."""
        settings = Settings(features_state_dir=self.folder / "state")
        async with running(*components(assemble(settings, broker=self.broker))):
            yield

    async def apply(self, pipeline: Pipeline, *earlier: Pipeline) -> None:
        proto = PipelineApplied(
            pipeline=pipeline.name,
            version=pipeline.version,
            spec_json=pipeline_to_json(pipeline),
            earlier_spec_json=[pipeline_to_json(one) for one in earlier],
        )
        await self._send(PIPELINES, "PipelineApplied", pipeline.name, proto.SerializeToString())

    async def end(self, name: str) -> None:
        await self._send(PIPELINES, "PipelineApplied", name, None)

    async def event(self, number: int, *numbers: float, version: int = 1, texts=("rain",)) -> None:
        """An event a second, of one of three stations."""
        proto = EventAccepted(
            pipeline="bikes",
            pipeline_version=version,
            event_id=f"e{number}",
            entity=f"station-{number % 3}",
            event_time_us=NOON + number * SECOND,
            numbers=numbers,
            texts=texts,
        )
        key = f"bikes/{proto.entity}"
        await self._send(EVENTS, "EventAccepted", key, proto.SerializeToString())

    async def label(self, number: int, value: float | None, after: int = 2) -> None:
        proto = EventLabelled(
            pipeline="bikes",
            pipeline_version=1,
            event_id=f"e{number}",
            entity=f"station-{number % 3}",
            event_time_us=NOON + number * SECOND,
            known_at_us=NOON + (number + after) * SECOND,
            number=value,
            retracted=value is None,
        )
        key = f"bikes/{proto.entity}"
        await self._send(EVENTS, "EventLabelled", key, proto.SerializeToString())

    async def _send(self, topic: str, kind: str, key: str, value: bytes | None) -> None:
        producer = self.broker.producer()
        partition = crc32(key.encode()) % await producer.partitions(topic)
        place = f"{topic}/{partition}"
        number = self.written[place] = self.written.get(place, -1) + 1
        headers = [
            ("ce_id", f"{place}/{number}".encode()),
            ("ce_source", b"millrace/test"),
            ("ce_type", f"millrace.v1.{kind}".encode()),
            ("ce_sequence", b"%016d.00000" % number),
            ("ce_recordedtime", rfc3339(NOON).encode()),
        ]
        await producer.send(topic, partition, [Outgoing(topic, key.encode(), value, headers)])

    def records(self) -> list[MemoryRecord]:
        return self.broker.records(FEATURES)

    def effective(self) -> list[Message]:
        """What a reader that fences sees: of each source and partition only what is newer than all before."""
        newest: dict[tuple[str, int], bytes] = {}
        seen = []
        for record in self.records():
            message = Message(record)
            place = (message.source, record.partition)
            if newest.get(place, b"") < (message.sequence or b""):
                newest[place] = message.sequence or b""
                seen.append(message)
        return seen

    def vectors(self) -> dict[str, FeaturesComputed]:
        vectors = [FeaturesComputed.FromString(message.value) for message in self.effective()]
        assert len({vector.event_id for vector in vectors}) == len(vectors)
        return {vector.event_id: vector for vector in vectors}

    async def answered(self, count: int) -> dict[str, FeaturesComputed]:
        await eventually(lambda: len(self.effective()) >= count)
        return self.vectors()


@pytest.fixture
def new_bed(tmp_path):
    """Makes a broker with its topics, and a place for the state of its own."""

    async def make(name: str = "bed") -> Bed:
        broker = MemoryBroker(now=lambda: NOON)
        await ensure_topics(broker)
        return Bed(tmp_path / name, broker)

    return make


@pytest.fixture
async def bed(new_bed):
    return await new_bed()
