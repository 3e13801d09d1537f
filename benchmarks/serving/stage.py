"""What Millrace needs around its serving: Kafka, and on its topics a pipeline and a promoted model; and what it has logged."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.processes import cpu_ticks, ticks_to_seconds
from benchmarks.serving.settings import LOAD_CORE
from benchmarks.serving.workload import COLUMNS, FEATURES, NAME, Workload

from millrace_artifacts.artifact import Artifact, Example, Learnt, Model, write_artifact
from millrace_artifacts.keys import local_key
from millrace_artifacts.scorer import scorer_of
from millrace_artifacts.seal import Statement, sealed
from millrace_artifacts.signature import Encoding, Signature
from millrace_artifacts.store import ObjectStore
from millrace_bus.broker import TopicPartition
from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json, read_pipeline
from millrace_kernel.clock import SystemClock
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

PREDICTIONS = "millrace.predictions"
_AT_ONCE = 20_000
_START_SECONDS = 180.0
_EXAMPLES = 4
_PIPELINE = read_pipeline(
    f"""
apiVersion: millrace/v1
kind: Pipeline
metadata: {{name: {NAME}}}
spec:
  event:  {{id: id, time: at}}
  fields: {{{", ".join(f"{column}: float" for column in COLUMNS)}}}
  label:  {{field: mass, kind: regression}}
""",
    version=1,
)


def artifact_of(workload: Workload) -> bytes:
    """The model as training ships it: ONNX with its parity measured, XGBoost's own form, examples."""
    signature = Signature(
        pipeline=NAME,
        pipeline_version=1,
        numbers=COLUMNS,
        categories=(),
        vocabularies=(),
        encoding=Encoding.ORDINAL,
        label_kind=LabelKind.REGRESSION,
        classes=(),
    )
    model = packed(FittedXgboost(workload.booster, FEATURES), signature, workload.rows)
    return write_artifact(
        Artifact(
            algorithm="xgboost",
            parameters="{}",
            model=model,
            measured=None,
            metrics={"mae": 1.0},
            learnt=Learnt(rows=1, since_us=1, until_us=2, holdout_rows=1, measured_until_us=1),
            libraries=libraries(),
            examples=_examples(model, workload),
        )
    )


def _examples(model: Model, workload: Workload) -> tuple[Example, ...]:
    rows = workload.rows[:_EXAMPLES].astype(float)
    values = scorer_of(model).score(rows, [()] * len(rows)).values
    return tuple(
        Example(tuple(row), (), value, ())
        for row, value in zip(rows.tolist(), values.tolist(), strict=True)
    )


@dataclass(slots=True)
class Stage:
    """A Kafka that runs, with the model promoted. `position` is where the answers that were not yet counted begin."""

    bootstrap: str
    home: Path
    broker_pid: int
    position: dict[TopicPartition, int] = field(default_factory=dict)

    @property
    def variables(self) -> Mapping[str, str]:
        """What a service of Millrace is told; all else as by default."""
        return {"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap, "MILLRACE_HOME": str(self.home)}

    def broker_cpu_seconds(self) -> float:
        return ticks_to_seconds(cpu_ticks(self.broker_pid))

    def count_new(self) -> int:
        """Answers of different requests that were written to the stream since this was last asked."""
        return asyncio.run(self._count_new())

    async def _count_new(self) -> int:
        consumer = KafkaBroker(KafkaSettings(self.bootstrap, client_id="bench")).consumer()
        await consumer.start()
        try:
            partitions = await consumer.assign([PREDICTIONS])
            ends = await consumer.ends(partitions)
            beginnings = await consumer.beginnings(partitions)
            at = {place: self.position.get(place, beginnings[place]) for place in partitions}
            for place, offset in at.items():
                consumer.seek(place, offset)
            keys: set[bytes | None] = set()
            while any(at[place] < ends[place] for place in partitions):
                for place, records in (await consumer.poll(_AT_ONCE, 1.0)).items():
                    keys.update(record.key for record in records)
                    at[place] = records[-1].offset + 1
            self.position = at
            return len(keys)
        finally:
            await consumer.stop()


class _Pinned(LocalKafka):
    """Kafka on the core of the load generators."""

    __slots__ = ()

    def command(self) -> list[str]:
        return ["taskset", "-c", str(LOAD_CORE), *super().command()]


@contextmanager
def stage(folder: Path, workload: Workload) -> Iterator[Stage]:
    """Kafka on free ports, the topics, the pipeline, and the model promoted as the registry would."""
    port, controller = free_ports(2)
    server = _Pinned(folder / "kafka", port, controller, kafka_jars(), java=str(find_java()))
    with start(server, folder / "kafka.log", _START_SECONDS) as running:
        result = Stage(server.bootstrap, folder / "millrace", running.pid)
        asyncio.run(_promote(result, workload))
        yield result


async def _promote(stage: Stage, workload: Workload) -> None:
    broker = KafkaBroker(KafkaSettings(stage.bootstrap, client_id="bench"))
    await ensure_topics(broker)
    store = ObjectStore(f"file://{stage.home.resolve() / 'objects'}")
    stored = store.put("models/v1.zip", artifact_of(workload))
    seal = sealed(
        Statement(NAME, 1, "run-1", stored.sha256), local_key(stage.home.resolve() / "keys")
    )
    applied = PipelineApplied(pipeline=NAME, version=1, spec_json=pipeline_to_json(_PIPELINE))
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
