"""A serving instance on the in-memory broker, with real artifacts in a real object store."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import pytest
from onnx import TensorProto, helper

from millrace_artifacts.artifact import Artifact, Learnt, Model, Parity, write_artifact
from millrace_artifacts.keys import SigningKey, local_key
from millrace_artifacts.seal import Seal, Statement, sealed
from millrace_artifacts.signature import BINARY_CLASSES, Encoding, Signature
from millrace_artifacts.store import ObjectStore, Stored
from millrace_bus.broker import Producer
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Message, Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_kernel.pipeline import LabelKind, Pipeline
from millrace_kernel.time import Instant, rfc3339
from millrace_proto.v1.deployments_pb2 import DeploymentFailed, ModelDeployed
from millrace_proto.v1.features_pb2 import FeaturesComputed
from millrace_proto.v1.models_pb2 import (
    ChallengerStarted,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
)
from millrace_proto.v1.pipelines_pb2 import PipelineApplied
from millrace_proto.v1.predictions_pb2 import PredictionMade
from millrace_serving.bootstrap import Parts, assemble
from millrace_serving.entrypoints.http import app
from millrace_serving.entrypoints.worker import components
from millrace_serving.settings import Settings
from millrace_testkit.clock import FixedClock
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker

NOON = Instant(1_764_000_000_000_000)
STEP = 10_000.0  # a version's answers begin at its number times this: an answer tells who gave it


def onnx_model(width: int, bias: list[float]) -> bytes:
    """answer[j] = the first column + bias[j]; a missing number counts as 0."""
    weights = np.zeros((width, len(bias)), dtype=np.float32)
    weights[0] = 1.0
    graph = helper.make_graph(
        [
            helper.make_node("IsNaN", ["input"], ["missing"]),
            helper.make_node("Where", ["missing", "zero", "input"], ["filled"]),
            helper.make_node("Gemm", ["filled", "weights", "bias"], ["answer"]),
        ],
        "model",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, len(bias)])],
        [
            helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
            helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.ravel()),
            helper.make_tensor("bias", TensorProto.FLOAT, [len(bias)], bias),
        ],
    )
    opsets = [helper.make_opsetid("", 15)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def artifact_of(pipeline: Pipeline, version: int, classes: tuple[str, ...] = ()) -> bytes:
    kind = pipeline.label.kind
    numbers = tuple(feature.name for feature in pipeline.numbers)
    categories = tuple(feature.name for feature in pipeline.categories)
    bias = {
        LabelKind.REGRESSION: [version * STEP],
        LabelKind.BINARY: [1.0 - version / 100, version / 100],
        LabelKind.MULTICLASS: [
            float(index == version % len(classes or "1")) for index in range(len(classes))
        ],
    }[kind]
    signature = Signature(
        pipeline=pipeline.name,
        pipeline_version=pipeline.version,
        numbers=numbers,
        categories=categories,
        vocabularies=tuple(("rain", "sun") for _ in categories),
        encoding=Encoding.ORDINAL,
        label_kind=kind,
        classes=BINARY_CLASSES if kind is LabelKind.BINARY else classes,
    )
    content = onnx_model(signature.width, bias)
    return write_artifact(
        Artifact(
            algorithm="linear",
            parameters="{}",
            model=Model(signature, Parity(0.0, 1e-4, 10), content, None),
            measured=None,
            metrics={"mae": 1.0},
            learnt=Learnt(rows=100, since_us=1, until_us=3, holdout_rows=10, measured_until_us=2),
            libraries={},
            examples=(),
        )
    )


@dataclass
class Bed:
    """Everything around an instance: what others write, and what the world sees of the answers."""

    folder: Path
    broker: MemoryBroker
    store: ObjectStore
    pipeline: Pipeline
    written: int = 0
    producer: Producer | None = None

    async def send(
        self,
        topic: str,
        partition: int,
        kind: str,
        key: str,
        *protos: object,
        value: bytes | None = None,
    ) -> None:
        records = []
        for proto in protos or (None,):
            self.written += 1
            headers = [
                ("ce_id", f"m{self.written}".encode()),
                ("ce_source", b"millrace/test"),
                ("ce_type", f"millrace.v1.{kind}".encode()),
                ("ce_sequence", b"%016d" % self.written),
                ("ce_recordedtime", rfc3339(NOON).encode()),
            ]
            records.append(
                Outgoing(
                    topic, key.encode(), proto.SerializeToString() if proto else value, headers
                )
            )
        if self.producer is None:
            self.producer = self.broker.producer()
            await self.producer.start()
        await self.producer.send(topic, partition, records)

    async def apply(self, pipeline: Pipeline, *earlier: Pipeline) -> None:
        proto = PipelineApplied(
            pipeline=pipeline.name,
            version=pipeline.version,
            spec_json=pipeline_to_json(pipeline),
            earlier_spec_json=[pipeline_to_json(one) for one in earlier],
        )
        await self.send("millrace.pipelines", 0, "PipelineApplied", pipeline.name, proto)

    async def end(self, name: str) -> None:
        await self.send("millrace.pipelines", 0, "PipelineApplied", name)

    def stored(self, version: int, content: bytes | None = None) -> Stored:
        return self.store.put(
            f"models/v{version}.zip", content or artifact_of(self.pipeline, version)
        )

    def sealed(self, version: int, stored: Stored, key: SigningKey | None = None) -> Seal:
        """As training would sign it, on the same machine."""
        name, file = self.pipeline.name, self.pipeline.version
        statement = Statement(name, file, f"run-{version}", stored.sha256)
        return sealed(statement, key or local_key(self.folder / "keys"))

    async def promote(
        self,
        version: int,
        epoch: int,
        stored: Stored | None = None,
        seal: Seal | None = None,
    ) -> None:
        stored = stored or self.stored(version)
        seal = seal or self.sealed(version, stored)
        proto = ModelPromoted(
            pipeline=self.pipeline.name,
            pipeline_version=self.pipeline.version,
            version=version,
            epoch=epoch,
            run_id=f"run-{version}",
            artifact_uri=stored.uri,
            artifact_sha256=stored.sha256,
            artifact_signature=seal.signature,
            signing_key_id=seal.key_id,
        )
        await self.send("millrace.models", 0, "ModelPromoted", self.pipeline.name, proto)

    async def roll_back(self, version: int, epoch: int, previous: int) -> None:
        stored = self.stored(version)
        seal = self.sealed(version, stored)
        proto = ModelRolledBack(
            pipeline=self.pipeline.name,
            pipeline_version=self.pipeline.version,
            version=version,
            epoch=epoch,
            previous_version=previous,
            run_id=f"run-{version}",
            artifact_uri=stored.uri,
            artifact_sha256=stored.sha256,
            artifact_signature=seal.signature,
            signing_key_id=seal.key_id,
        )
        await self.send("millrace.models", 0, "ModelRolledBack", self.pipeline.name, proto)

    async def challenge(
        self,
        version: int,
        trial: int = 1,
        *,
        share: float = 0.0,
        step: int = 0,
        epoch: int = 1,
        champion: int = 1,
        since: int = 0,
        started: int = 0,
        stored: Stored | None = None,
    ) -> None:
        stored = stored or self.stored(version)
        seal = self.sealed(version, stored)
        proto = ChallengerStarted(
            pipeline=self.pipeline.name,
            pipeline_version=self.pipeline.version,
            version=version,
            traffic_share=share,
            trial=trial,
            step=step,
            epoch=epoch,
            champion_version=champion,
            since_us=since,
            started_us=started,
            run_id=f"run-{version}",
            artifact_uri=stored.uri,
            artifact_sha256=stored.sha256,
            artifact_signature=seal.signature,
            signing_key_id=seal.key_id,
        )
        await self.send("millrace.models", 0, "ChallengerStarted", self.pipeline.name, proto)

    async def reject(self, version: int) -> None:
        proto = ModelRejected(pipeline=self.pipeline.name, version=version)
        await self.send("millrace.models", 0, "ModelRejected", self.pipeline.name, proto)

    async def vectors(
        self,
        ids: Sequence[int],
        version: int = 1,
        numbers: Callable[[int], list[float]] | None = None,
    ) -> None:
        """A vector per id; the first number is the id, the second is missing in every third."""
        for number in ids:
            await self.vectors_at_once([number], version, numbers)

    async def vectors_at_once(
        self,
        ids: Sequence[int],
        version: int = 1,
        numbers: Callable[[int], list[float]] | None = None,
    ) -> None:
        """The same, with one append per partition."""
        for place in range(4):
            mine = [number for number in ids if number % 4 == place]
            protos = [
                FeaturesComputed(
                    pipeline=self.pipeline.name,
                    pipeline_version=version,
                    event_id=f"e{number}",
                    entity=f"station-{place}",
                    event_time_us=NOON + number,
                    numbers=numbers(number)
                    if numbers
                    else [float(number), float("nan") if number % 3 == 0 else 0.5],
                    categories=["" if number % 5 == 0 else "rain"],
                )
                for number in mine
            ]
            if protos:
                key = f"{self.pipeline.name}/{place}"
                await self.send("millrace.features", place, "FeaturesComputed", key, *protos)

    def instance(self, name: str = "serving-0", **changes: object) -> Parts:
        settings = Settings(
            millrace_home=self.folder,
            object_store_url=self.store.url,
            serving_instance=name,
            serving_state_dir=self.folder / name,
            **changes,  # type: ignore[arg-type]
        )
        return assemble(settings, broker=self.broker, clock=FixedClock(NOON))

    @asynccontextmanager
    async def serving(self, parts: Parts | None = None) -> AsyncIterator[Parts]:
        parts = parts or self.instance()
        async with running(*components(parts)):
            yield parts

    @asynccontextmanager
    async def client(self, parts: Parts, ready: bool = True) -> AsyncIterator[httpx2.AsyncClient]:
        transport = httpx2.ASGITransport(app=app(parts, lambda: ready))
        async with httpx2.AsyncClient(transport=transport, base_url="http://serving") as client:
            yield client

    def effective(self, topic: str) -> list[Message]:
        """What a reader that fences sees: the newest sequence of each source and partition only moves on."""
        newest: dict[tuple[str, int], bytes] = {}
        seen = []
        for record in self.broker.records(topic):
            message = Message(record)
            place = (message.source, record.partition)
            assert message.sequence is not None
            if newest.get(place, b"") < message.sequence:
                newest[place] = message.sequence
                seen.append(message)
        return seen

    def predictions(self) -> list[PredictionMade]:
        return [
            PredictionMade.FromString(message.value)
            for message in self.effective("millrace.predictions")
        ]

    def deployments(self) -> list[ModelDeployed | DeploymentFailed]:
        kinds = {
            "millrace.v1.ModelDeployed": ModelDeployed,
            "millrace.v1.DeploymentFailed": DeploymentFailed,
        }
        return [
            kinds[message.type].FromString(message.value)
            for message in self.effective("millrace.deployments")
        ]

    async def answered(self, count: int) -> list[PredictionMade]:
        await eventually(lambda: len(self.predictions()) >= count, what=f"{count} predictions")
        await asyncio.sleep(0.02)  # more than wanted would come now
        found = self.predictions()
        assert len(found) == count
        return found

    async def deployed(self, count: int) -> list[ModelDeployed | DeploymentFailed]:
        await eventually(lambda: len(self.deployments()) >= count, what=f"{count} deployments")
        return self.deployments()


@pytest.fixture
def make_bed(tmp_path: Path, make_pipeline: Callable[..., Pipeline]) -> Callable[..., Bed]:
    def make(**changes: str) -> Bed:
        return Bed(
            tmp_path,
            MemoryBroker(),
            ObjectStore(f"file://{tmp_path / 'objects'}"),
            make_pipeline(**changes),
        )

    return make


@pytest.fixture
async def bed(make_bed: Callable[..., Bed]) -> Bed:
    """A pipeline applied, whose fallback is its first feature."""
    bed = make_bed(fallback="temp")
    await ensure_topics(bed.broker)
    await bed.apply(bed.pipeline)
    return bed


@pytest.fixture
def make_artifact() -> Callable[..., bytes]:
    return artifact_of
