"""What the contenders stand on: a Kafka with topics, the model as a file, and on Millrace's topics a pipeline and a promotion."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.stream.processes import cpu_seconds
from benchmarks.stream.workload import COLUMNS, NAME, PIPELINE, make_model
from numpy.typing import NDArray

from millrace_artifacts.artifact import Artifact, Example, Learnt, Model, write_artifact
from millrace_artifacts.keys import local_key
from millrace_artifacts.scorer import scorer_of
from millrace_artifacts.seal import Statement, sealed
from millrace_artifacts.signature import Encoding, Signature
from millrace_artifacts.store import ObjectStore
from millrace_bus.broker import TopicSpec
from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_kernel.clock import SystemClock
from millrace_kernel.errors import TransientError
from millrace_kernel.pipeline import LabelKind
from millrace_kernel.time import rfc3339
from millrace_local.install import kafka_jars
from millrace_local.java import find_java
from millrace_local.kafka import LocalKafka
from millrace_local.ports import free_ports
from millrace_local.process import start
from millrace_proto.v1.models_pb2 import ModelPromoted
from millrace_proto.v1.pipelines_pb2 import PipelineApplied
from millrace_training.adapters.fitting.algorithms.xgboost_models import FittedXgboost
from millrace_training.adapters.fitting.shipping.export import libraries, packed

PARTITIONS = 4
_START_SECONDS = 180.0
_EXAMPLES = 4
_TRIES = 60


@dataclass(frozen=True, slots=True)
class Stage:
    """A Kafka that runs. `home` is Millrace's, with the promoted model; `model` the same model as ONNX."""

    bootstrap: str
    home: Path
    model: Path
    broker_pid: int

    def broker(self) -> KafkaBroker:
        return KafkaBroker(KafkaSettings(self.bootstrap, client_id="bench"))

    async def create(self, topics: Sequence[str]) -> None:
        """A broker that has just started, on a busy machine, may not know itself yet."""
        for _ in range(_TRIES):
            try:
                return await self.broker().create_topics(
                    [TopicSpec(topic, PARTITIONS) for topic in topics]
                )
            except TransientError:
                await asyncio.sleep(1.0)
        raise RuntimeError(f"Kafka does not create {', '.join(topics)}")

    def broker_cpu_seconds(self) -> float:
        return cpu_seconds(self.broker_pid)


@contextmanager
def stage(folder: Path, core: int) -> Iterator[Stage]:
    """Kafka on free ports and on a core of its own, the topics, the pipeline, the model promoted as the registry would."""
    port, controller = free_ports(2)
    server = LocalKafka(folder / "kafka", port, controller, kafka_jars(), java=str(find_java()))
    with start(server, folder / "kafka.log", _START_SECONDS) as running:
        _pin(running.pid, core)
        booster, rows = make_model()
        model = packed(FittedXgboost(booster, len(COLUMNS)), _signature(), rows)
        if model.onnx is None or not model.parity.holds:
            raise RuntimeError("the ONNX form of the model differs from it")
        path = folder / "model.onnx"
        path.write_bytes(model.onnx)
        result = Stage(server.bootstrap, folder / "millrace", path, running.pid)
        asyncio.run(_promote(result, _artifact(model, rows)))
        yield result


def _pin(pid: int, core: int) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def _signature() -> Signature:
    return Signature(
        pipeline=NAME,
        pipeline_version=1,
        numbers=COLUMNS,
        categories=(),
        vocabularies=(),
        encoding=Encoding.ORDINAL,
        label_kind=LabelKind.REGRESSION,
        classes=(),
    )


def _artifact(model: Model, rows: NDArray[np.float32]) -> bytes:
    """The model as training ships it."""
    few = rows[:_EXAMPLES].astype(float)
    values = scorer_of(model).score(few, [()] * len(few)).values
    examples = tuple(
        Example(tuple(row), (), value, ())
        for row, value in zip(few.tolist(), values.tolist(), strict=True)
    )
    return write_artifact(
        Artifact(
            algorithm="xgboost",
            parameters="{}",
            model=model,
            measured=None,
            metrics={"mae": 1.0},
            learnt=Learnt(rows=1, since_us=1, until_us=2, holdout_rows=1, measured_until_us=1),
            libraries=libraries(),
            examples=examples,
        )
    )


async def _promote(stage: Stage, artifact: bytes) -> None:
    broker = stage.broker()
    await stage.create([PIPELINE.topic])
    await ensure_topics(broker, PARTITIONS)
    store = ObjectStore(f"file://{stage.home.resolve() / 'objects'}")
    stored = store.put("models/v1.zip", artifact)
    statement = Statement(NAME, 1, "run-1", stored.sha256)
    seal = sealed(statement, local_key(stage.home.resolve() / "keys"))
    applied = PipelineApplied(pipeline=NAME, version=1, spec_json=pipeline_to_json(PIPELINE))
    promoted = ModelPromoted(
        pipeline=NAME,
        pipeline_version=1,
        version=1,
        epoch=1,
        run_id="run-1",
        artifact_uri=stored.uri,
        artifact_sha256=stored.sha256,
        artifact_signature=seal.signature,
        signing_key_id=seal.key_id,
    )
    producer = broker.producer()
    await producer.start()
    for topic, message in (("millrace.pipelines", applied), ("millrace.models", promoted)):
        kind = type(message).__name__
        headers = [
            ("ce_id", f"bench-{kind}".encode()),
            ("ce_source", b"millrace/bench"),
            ("ce_type", f"millrace.v1.{kind}".encode()),
            ("ce_sequence", b"%016d" % 1),
            ("ce_recordedtime", rfc3339(SystemClock().now()).encode()),
        ]
        value = message.SerializeToString()
        await producer.send(topic, 0, [Outgoing(topic, NAME.encode(), value, headers)])
    await producer.stop()
