"""How soon the feature service is ready again with a large state: from its own folder, and from a snapshot.

    make bench-state          or    .venv/bin/python benchmarks/state.py --entities 1000000

A real Kafka on free ports and the real service as a process of its own, with the state of so many entities in its
partitions, each with a history of several events as the service keeps it. Twice: started again on the machine that has
the state, and on one that has none and fetches the snapshot from a file:// object store. Ready is when one new event of
each partition has been answered from the state. Prints JSON, and writes results/state.json.
"""

import argparse
import asyncio
import json
import math
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from millrace_artifacts.blobs import ObjectBlobs
from millrace_bus.broker import Broker, TopicPartition
from millrace_bus.identity import cluster_id
from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.snapshots import Snapshots
from millrace_bus.store import PartitionStore
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Message, Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json, read_pipeline
from millrace_features.adapters.state import HistoryCodec, state_key
from millrace_features.application.handlers import on_event
from millrace_features.application.pipelines import PipelinesHeard
from millrace_features.domain.events import EventAccepted, PipelineApplied
from millrace_features.domain.history import History
from millrace_kernel.ids import EntityId, EventId, PipelineName
from millrace_kernel.time import SECOND, Instant, rfc3339
from millrace_local.install import kafka_jars
from millrace_local.kafka import LocalKafka
from millrace_local.ports import free_port, free_ports
from millrace_local.process import start
from millrace_proto.v1 import events_pb2, features_pb2, pipelines_pb2

EVENTS, FEATURES, PIPELINES = "millrace.events", "millrace.features", "millrace.pipelines"
PARTITIONS = 4
REMEMBERED = 12  # events of each entity
NOON = Instant(1_764_000_000_000_000)
GOAL_SECONDS = 30.0
AT_ONCE = 10_000
SEED = 7
RESULTS = Path(__file__).parent / "results" / "state.json"
PIPELINE = read_pipeline(
    """
apiVersion: millrace/v1
kind: Pipeline
metadata: {name: bikes}
spec:
  event:    {id: id, time: at, entity: station, lateness: 1m}
  fields:   {temp: float, hum: float}
  features:
    - {name: temp_change, expr: 'temp - lag(temp, 1)'}
    - {name: temp_mean, agg: mean, of: temp, window: 1h}
    - {name: hum_mean, agg: mean, of: hum, window: 1h}
  label:    {field: cnt, kind: regression, delay: 1s, maturity: 1s}
""",
    version=1,
)


class _Remembered:
    """What the heart has put, by entity."""

    def __init__(self) -> None:
        self.histories: dict[str, History] = {}

    def of(self, pipeline: PipelineName, entity: EntityId) -> History | None:  # noqa: ARG002
        return self.histories.get(entity)

    def put(self, pipeline: PipelineName, entity: EntityId, history: History) -> None:  # noqa: ARG002
        self.histories[entity] = history


def model_history() -> History:
    """A history as the service's own heart makes it."""
    plans, remembered = PipelinesHeard(), _Remembered()
    plans.apply(PipelineApplied(PIPELINE.name, (PIPELINE,)))
    for number in range(REMEMBERED):
        at = Instant(NOON + number * SECOND)
        event = EventAccepted(
            PIPELINE.name, 1, EventId(f"e{number}"), EntityId("one"), at, (1.0, 2.0), ()
        )
        list(on_event(event, plans, remembered))
    history = remembered.histories["one"]
    assert len(history.times) == REMEMBERED, "the windows must hold them all"
    return history


def histories(count: int) -> Iterator[History]:
    """Each with measurements of its own."""
    model, generator = model_history(), np.random.default_rng(SEED)
    for start_at in range(0, count, AT_ONCE):
        rows = generator.normal(15.0, 8.0, (min(AT_ONCE, count - start_at), 2, REMEMBERED))
        for temp, hum in rows.tolist():
            yield replace(model, fields=dict(zip(model.fields, (temp, hum), strict=True)))


def build(folder: Path, entities: int) -> int:
    """Write the state of all partitions at position 0; bytes on disk."""
    codec, every = HistoryCodec(), histories(entities)
    for partition in range(PARTITIONS):
        store = PartitionStore(folder / f"{EVENTS}-{partition}", codec)
        mine = range(partition, entities, PARTITIONS)
        for start_at in range(0, len(mine), AT_ONCE):
            state = store.state()
            for number in mine[start_at : start_at + AT_ONCE]:
                state.put(state_key(PIPELINE.name, EntityId(f"station-{number}")), next(every))
            store.commit(0, {}, state)
        store.close()
    return size_of(folder)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def save(folder: Path, snapshots: Snapshots) -> float:
    """Copy all partitions to the object store; seconds."""
    began = time.perf_counter()
    for partition in range(PARTITIONS):
        store = PartitionStore(folder / f"{EVENTS}-{partition}", HistoryCodec())
        checkpoint = folder / f".checkpoint-{partition}"
        position = store.checkpoint(checkpoint)
        assert position == 0
        snapshots.save(TopicPartition(EVENTS, partition), position, checkpoint)
        shutil.rmtree(checkpoint)
        store.close()
    return time.perf_counter() - began


async def apply(broker: Broker) -> None:
    applied = pipelines_pb2.PipelineApplied(
        pipeline=PIPELINE.name, version=1, spec_json=pipeline_to_json(PIPELINE)
    )
    await send(broker, PIPELINES, 0, "PipelineApplied", PIPELINE.name, applied, 0)


async def tell(broker: Broker, round_number: int) -> set[str]:
    """One new event of each partition, of entities whose state is there; the ids."""
    ids = set()
    for partition in range(PARTITIONS):
        event = events_pb2.EventAccepted(
            pipeline=PIPELINE.name,
            pipeline_version=1,
            event_id=f"new-{round_number}-{partition}",
            entity=f"station-{partition}",
            event_time_us=NOON + (REMEMBERED + round_number) * SECOND,
            numbers=(20.0, 0.5),
        )
        key = f"{PIPELINE.name}/{event.entity}"
        await send(broker, EVENTS, partition, "EventAccepted", key, event, round_number)
        ids.add(event.event_id)
    return ids


async def send(
    broker: Broker, topic: str, partition: int, kind: str, key: str, message: object, number: int
) -> None:
    headers = [
        ("ce_id", f"{topic}/{partition}/{number}".encode()),
        ("ce_source", b"millrace/bench"),
        ("ce_type", f"millrace.v1.{kind}".encode()),
        ("ce_sequence", b"%016d.00000" % number),
        ("ce_recordedtime", rfc3339(NOON).encode()),
    ]
    producer = broker.producer()
    await producer.start()
    value = message.SerializeToString()  # type: ignore[attr-defined]  # a protobuf message
    await producer.send(topic, partition, [Outgoing(topic, key.encode(), value, headers)])
    await producer.stop()


@asynccontextmanager
async def service(environment: dict[str, str], log: Path) -> AsyncIterator[None]:
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "millrace_features", env=environment, stderr=output
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def answered(broker: Broker, ids: set[str]) -> None:
    """Until these have their vectors, computed from what was remembered."""
    consumer, waiting = broker.consumer(), set(ids)
    await consumer.start()
    await consumer.assign([FEATURES])
    while waiting:
        for records in (await consumer.poll(1_000, 0.1)).values():
            for message in map(Message, records):
                vector = features_pb2.FeaturesComputed.FromString(message.value or b"")
                if vector.event_id in waiting:
                    assert not math.isnan(vector.numbers[2]), "it knows the event before"
                    waiting.remove(vector.event_id)
    await consumer.stop()


async def ready(broker: Broker, environment: dict[str, str], log: Path, round_number: int) -> float:
    """Seconds from the start of the process to its last answer."""
    ids = await tell(broker, round_number)
    began = time.perf_counter()
    async with service(environment, log), asyncio.timeout(600):
        await answered(broker, ids)
        return time.perf_counter() - began


async def measure(bootstrap: str, entities: int, folder: Path) -> dict[str, object]:
    kafka = KafkaSettings(bootstrap)
    broker = KafkaBroker(kafka)
    await ensure_topics(broker, PARTITIONS)
    await apply(broker)
    environment = {
        "PYTHONPATH": ":".join(path for path in sys.path if path),
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA_PARTITIONS": str(PARTITIONS),
        "MILLRACE_HOME": str(folder),
        "FEATURES_PORT": str(free_port()),
        "STATE_SNAPSHOT_SECONDS": "3600",
    }
    state = folder / "features"
    began = time.perf_counter()
    size = build(state / "here", entities)
    built = time.perf_counter() - began
    blobs = ObjectBlobs(f"file://{folder}/objects")
    cluster = await asyncio.to_thread(cluster_id, kafka)
    saved = save(state / "here", Snapshots("features", blobs, lambda: cluster))
    log = folder / "service.log"
    local = await ready(broker, environment | {"MILLRACE_INSTANCE": "here"}, log, 1)
    fetched = await ready(broker, environment | {"MILLRACE_INSTANCE": "elsewhere"}, log, 2)
    assert log.read_text().count("state restored") == PARTITIONS, log.read_text()
    return {
        "entities": entities,
        "partitions": PARTITIONS,
        "state_bytes": size,
        "build_seconds": round(built, 1),
        "snapshot_seconds": round(saved, 2),
        "ready_seconds": {"local": round(local, 2), "snapshot": round(fetched, 2)},
        "goal_seconds": GOAL_SECONDS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        port, controller = free_ports(2)
        server = LocalKafka(Path(home) / "kafka", port, controller, kafka_jars())
        with start(server, Path(home) / "kafka.log"):
            work = measure(server.bootstrap, options.entities, Path(home) / "millrace")
            result = asyncio.run(work)
    print(json.dumps(result, indent=2))
    if options.entities >= 1_000_000:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    seconds = result["ready_seconds"]
    assert isinstance(seconds, dict)
    sys.exit(max(seconds.values()) > GOAL_SECONDS)


if __name__ == "__main__":
    main()
