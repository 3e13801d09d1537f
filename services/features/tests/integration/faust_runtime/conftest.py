"""Features as a process, in either runtime, on a Kafka of its own: what it is told, and what it answers."""

import asyncio
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import pytest

from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Message, Outgoing
from millrace_contracts.pipeline_file import pipeline_to_json
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import SECOND, rfc3339
from millrace_local.guard import end_guard, launch_guarded
from millrace_local.install import kafka_jars
from millrace_local.kafka import LocalKafka
from millrace_local.ports import free_port, free_ports
from millrace_local.probes import wait_until
from millrace_local.process import tail
from millrace_proto.v1.events_pb2 import EventAccepted, EventLabelled
from millrace_proto.v1.pipelines_pb2 import PipelineApplied
from millrace_testkit.eventually import eventually
from millrace_testkit.reading import effective

NOON = 1_764_000_000_000_000
PARTITIONS = 4
EVENTS, PIPELINES, FEATURES = "millrace.events", "millrace.pipelines", "millrace.features"
DEAD_LETTERS = "millrace.events.dlq"
FIELDS = "temp: float, weather: category"
FEATURES_MADE = (
    "{name: change, expr: 'temp - lag(temp, 1)'}",
    "{name: temp_mean, agg: mean, of: temp, window: 10m}",
    "{name: hired_mean, agg: mean, of: label, window: 10m}",
)


def event(number: int, entity: str, version: int = 1) -> tuple[str, str, bytes]:
    """An event a second; every 500th carries a number too many."""
    temp = math.nan if number % 11 == 0 else float(number % 17)
    proto = EventAccepted(
        pipeline="bikes",
        pipeline_version=version,
        event_id=f"e{number}",
        entity=entity,
        event_time_us=NOON + number * SECOND,
        numbers=(temp, 1.0) if number % 500 == 250 else (temp,),
        texts=("rain" if number % 3 else "sun",),
    )
    return "EventAccepted", f"bikes/{entity}", proto.SerializeToString()


def label(number: int, entity: str) -> tuple[str, str, bytes]:
    proto = EventLabelled(
        pipeline="bikes",
        pipeline_version=1,
        event_id=f"e{number}",
        entity=entity,
        event_time_us=NOON + number * SECOND,
        known_at_us=NOON + (number + 3) * SECOND,
        number=float(number % 23),
    )
    return "EventLabelled", f"bikes/{entity}", proto.SerializeToString()


def answers_to(count: int) -> int:
    """How many vectors so many events get: those that carry what their pipeline says."""
    return count - sum(number % 500 == 250 for number in range(count))


def letters_of(count: int) -> int:
    """How many dead letters so many events make: the others, and those that are no protobuf."""
    return count - answers_to(count) + sum(number % 1000 == 700 for number in range(count))


@dataclass
class Tellings:
    """What ingestion would have written, in its order; now and then a stretch of it twice, as after a kill.

    Events from number `newer` on name version 2 of the pipeline.
    """

    newer: int | None = None
    written: dict[int, int] = field(default_factory=dict)

    def of(self, numbers: Sequence[int]) -> dict[int, list[Outgoing]]:
        told: dict[int, list[Outgoing]] = {number: [] for number in range(PARTITIONS)}
        for number in numbers:
            entity = f"station-{number * 7 % 61}"
            version = 1 if self.newer is None or number < self.newer else 2
            self._add(told, *event(number, entity, version))
            if number % 3 == 0:
                self._add(told, *label(number, entity))
            if number % 1000 == 700:
                self._add(told, "EventAccepted", f"bikes/{entity}", b"\xff\xff no protobuf")
            if number % 400 == 399:
                for records in told.values():
                    records += records[-20:]
        return told

    def _add(self, told: dict[int, list[Outgoing]], kind: str, key: str, value: bytes) -> None:
        partition = crc32(key.encode()) % PARTITIONS
        number = self.written[partition] = self.written.get(partition, -1) + 1
        headers = [
            ("ce_id", f"{partition}/{number}".encode()),
            ("ce_source", f"millrace/ingestion/millrace.raw.bikes/{partition % 3}".encode()),
            ("ce_type", f"millrace.v1.{kind}".encode()),
            ("ce_sequence", b"%016d.00000" % number),
            ("ce_recordedtime", rfc3339(NOON + number * SECOND).encode()),
        ]
        told[partition].append(Outgoing(EVENTS, key.encode(), value, headers))


class Reading:
    """Follows a topic from where it ends now: vectors with the fence that every reader keeps, dead letters as they are."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = KafkaBroker(KafkaSettings(bootstrap)).consumer()
        self._topic = topic
        self._newest: dict[tuple[str, int], bytes] = {}
        self.records = 0
        self.messages: list[Message] = []

    async def __aenter__(self) -> "Reading":
        await self._consumer.start()
        places = await self._consumer.assign([self._topic])
        for place, end in (await self._consumer.ends(places)).items():
            self._consumer.seek(place, end)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def more(self) -> None:
        """Read what has come."""
        for records in (await self._consumer.poll(10_000, 0.5)).values():
            self.records += len(records)
            messages = [Message(record) for record in records]
            is_fenced = self._topic == FEATURES
            self.messages += effective(messages, self._newest) if is_fenced else messages

    async def until(self, count: int, program: subprocess.Popen[bytes]) -> None:
        async def came() -> bool:
            assert program.poll() is None, "the service ended by itself"
            await self.more()
            return len(self.messages if self._topic == FEATURES else self.letters()) >= count

        await eventually(came, within=240, what=f"{count} messages on {self._topic}")

    def told(self) -> list[tuple[object, ...]]:
        """All that a reader can tell apart, sorted by partition and sequence."""
        return sorted(
            (message.partition, message.sequence, message.key, message.value, sorted(message.headers.items()))
            for message in self.messages
        )  # fmt: skip

    def letters(self) -> dict[tuple[bytes, ...], tuple[object, ...]]:
        """The dead letters by where they came from; one that was sent again says the same.

        All but the frames of the traceback: they name the runtime's own code.
        """
        names = ("__connect.errors.partition", "__connect.errors.offset")
        return {
            tuple(message.headers[name] for name in names): (
                message.key,
                message.value,
                {
                    name: value
                    for name, value in message.headers.items()
                    if "stacktrace" not in name
                },
            )
            for message in self.messages
        }


@dataclass
class Cluster:
    bootstrap: str

    def reading(self, topic: str = FEATURES) -> Reading:
        return Reading(self.bootstrap, topic)

    async def apply(self, pipeline: Pipeline, *earlier: Pipeline) -> None:
        proto = PipelineApplied(
            pipeline=pipeline.name,
            version=pipeline.version,
            spec_json=pipeline_to_json(pipeline),
            earlier_spec_json=[pipeline_to_json(one) for one in earlier],
        )
        headers = [("ce_id", b"p"), ("ce_type", b"millrace.v1.PipelineApplied")]
        key = pipeline.name.encode()
        await self.send({0: [Outgoing(PIPELINES, key, proto.SerializeToString(), headers)]})

    async def send(self, told: dict[int, list[Outgoing]]) -> None:
        producer = KafkaBroker(KafkaSettings(self.bootstrap)).producer()
        await producer.start()
        try:
            for partition, records in told.items():
                if records:
                    await producer.send(records[0].topic, partition, records)
        finally:
            await producer.stop()

    async def answers(
        self, home: Path, count: int
    ) -> tuple[list[tuple[object, ...]], dict[tuple[bytes, ...], tuple[object, ...]]]:
        """What the default runtime makes of everything that was told, undisturbed."""
        async with self.reading() as vectors, self.reading(DEAD_LETTERS) as dead:
            with self.features(home, "bus") as program:
                await vectors.until(answers_to(count), program)
                await dead.until(letters_of(count), program)
        return vectors.told(), dead.letters()

    @contextmanager
    def features(self, home: Path, runtime: str, **more: str):
        """The service as a process; it is killed at the end, and its log stands in a failure."""
        home.mkdir(exist_ok=True)
        kept = ("PATH", "HOME", "LANG")
        environment = {name: os.environ[name] for name in kept if name in os.environ} | {  # noqa: TID251
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA_SESSION_TIMEOUT_SECONDS": "6",
            "KAFKA_PARTITIONS": str(PARTITIONS),
            "MILLRACE_HOME": str(home),
            "FEATURES_PORT": str(free_port()),
            "FEATURES_RUNTIME": runtime,
            "PYTHONWARNINGS": "error",
        } | more  # fmt: skip
        log = home / "features.log"
        with log.open("ab") as output:
            program = subprocess.Popen(
                [sys.executable, "-m", "millrace_features"],
                env=environment,
                stdout=output,
                stderr=output,
            )
        try:
            yield program
        except BaseException as error:
            error.add_note(f"the end of {log}:\n{tail(log)}")
            raise
        finally:
            program.kill()
            program.wait()


@pytest.fixture
def cluster(tmp_path):
    """A Kafka of one test's own, with the platform's topics and nothing in them."""
    folder = tmp_path / "kafka"
    port, controller_port = free_ports(2)
    server = LocalKafka(
        home=folder / "home", port=port, controller_port=controller_port, jars=kafka_jars()
    )
    server.prepare()
    guard = launch_guarded(server, log=folder / "log", watch=os.getpid(), remove=folder)
    try:
        assert wait_until(lambda: server.ready(0.5), 60), tail(folder / "log")
        broker = KafkaBroker(KafkaSettings(server.bootstrap))
        asyncio.run(ensure_topics(broker, PARTITIONS))
        yield Cluster(server.bootstrap)
    finally:
        end_guard(guard)


@pytest.fixture
def tellings():
    return Tellings()


@pytest.fixture
def counted():
    """How many vectors and how many dead letters so many events make."""
    return lambda count: (answers_to(count), letters_of(count))


@pytest.fixture
def bikes(pipeline):
    """Makes a version of the pipeline that the events are for."""

    def make(version: int = 1) -> Pipeline:
        more = ("{name: double, expr: 2 * temp}",) if version == 2 else ()
        return pipeline(*FEATURES_MADE, *more, fields=FIELDS, lateness="10s", version=version)

    return make
