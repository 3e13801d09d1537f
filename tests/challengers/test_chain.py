"""Registry, serving and monitoring together on one broker: a challenger's whole way, and how soon a breach ends it."""

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from tests.challengers.candidates import Trainer, line

from millrace_artifacts.keys import local_key
from millrace_bus.broker import TopicPartition
from millrace_bus.outputs import Outputs
from millrace_bus.retry import Backoff
from millrace_bus.sql_worker import SqlSettings
from millrace_bus.topology import ensure_topics
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Cause
from millrace_contracts.wire import Encoder, WireTable
from millrace_kernel.time import MINUTE, Instant
from millrace_monitoring import bootstrap as monitoring
from millrace_monitoring.entrypoints.worker import worker as monitoring_worker
from millrace_monitoring.settings import Settings as MonitoringSettings
from millrace_proto.v1 import drift_pb2, models_pb2
from millrace_proto.v1.features_pb2 import FeaturesComputed
from millrace_proto.v1.labels_pb2 import LabelObserved
from millrace_proto.v1.predictions_pb2 import PredictionMade, PredictionRole
from millrace_proto.v1.training_pb2 import TrainingCompleted
from millrace_registry import bootstrap as registry
from millrace_registry.entrypoints.applying import apply
from millrace_registry.entrypoints.worker import worker as registry_worker
from millrace_registry.settings import Settings as RegistrySettings
from millrace_serving import bootstrap as serving
from millrace_serving.entrypoints.worker import components
from millrace_serving.settings import Settings as ServingSettings
from millrace_telemetry.tracing import NO_TRACING
from millrace_testkit.clock import FixedClock
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker

NOON = Instant(1_764_000_000_000_000)
ENTITIES = 200
USERS = PredictionRole.PREDICTION_ROLE_CHAMPION
FILE = """
metadata: {name: bikes}
spec:
  event:  {id: id, time: at, entity: station}
  fields: {temp: float}
  label:  {field: cnt, kind: regression}
  gates:  [{metric: mae, max: 100}]
  promotion: {strategy: canary, min_labels: 20, steps: [25, 50, 100], limits: {latency: 1h}}
"""
OTHERS = WireTable(
    {},
    [
        Encoder(kind, f"millrace.v1.{kind.DESCRIPTOR.name}", key=key, encode=lambda p: p.SerializeToString())
        for kind, key in (
            (TrainingCompleted, lambda proto: proto.pipeline),
            (FeaturesComputed, lambda proto: f"{proto.pipeline}/{proto.entity}"),
            (LabelObserved, lambda proto: f"{proto.pipeline}/{proto.event_id}"),
        )
    ],
)  # fmt: skip


@dataclass
class Loop:
    """What the other services say, and what comes of it."""

    home: Path
    broker: MemoryBroker
    registry: registry.Parts
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))
    sent: dict[str, int] = field(default_factory=dict)
    events: int = 0
    read: dict[TopicPartition, int] = field(default_factory=dict)
    found: dict[str, PredictionMade] = field(default_factory=dict)

    def say(self, proto: Any) -> None:
        encoder = OTHERS.encoder(proto)
        count = self.sent[encoder.topic] = self.sent.get(encoder.topic, 0) + 1
        places = self.broker.places(encoder.topic)
        place: TopicPartition = places[crc32(encoder.key(proto).encode()) % len(places)]
        cause = Cause(f"cause-{encoder.topic}-{count}", Instant(NOON + count), "chain")
        self.broker.append(
            place,
            [
                Outputs(f"test/{place.topic}", OTHERS, NO_TRACING).record(
                    proto, cause, sequence(count, 0), 0
                )
            ],
        )

    def train(self, number: int, bias: float) -> None:
        """A model that answers the temperature and this much more."""
        trainer = Trainer(self.home, "bikes", "temp")
        temps = self.rng.normal(0, 1, 500).tolist()
        self.say(trainer.completed(number, line(1.0, bias), temps, NOON))

    def live(self, count: int) -> None:
        """Vectors and their labels; the truth is the temperature, and some noise."""
        for _ in range(count):
            self.events += 1
            temp, event = float(self.rng.normal(0, 1)), f"e{self.events}"
            self.say(
                FeaturesComputed(
                    pipeline="bikes", pipeline_version=1, event_id=event, entity=f"s{self.events % ENTITIES}",
                    event_time_us=NOON + self.events * MINUTE, numbers=[temp],
                )
            )  # fmt: skip
            truth = temp + float(self.rng.normal(0, 1))
            self.say(
                LabelObserved(pipeline="bikes", pipeline_version=1, event_id=event, number=truth)
            )

    def heard(self, topic: str, module: Any) -> list[Any]:
        return [
            getattr(module, dict(record.headers)["ce_type"].decode().rpartition(".")[2]).FromString(
                record.value
            )
            for record in self.broker.records(topic)
        ]

    def models(self) -> list[Any]:
        return self.heard("millrace.models", models_pb2)

    def kinds(self) -> list[str]:
        return [type(one).__name__ for one in self.models()]

    def answers(self) -> dict[str, PredictionMade]:
        """What users got; the first one published counts."""
        for place in self.broker.places("millrace.predictions"):
            log, known = self.broker.logs[place], self.read.get(place, 0)
            for record in log[known:]:
                one = PredictionMade.FromString(record.value)
                if one.role == USERS:
                    self.found.setdefault(one.event_id, one)
            self.read[place] = len(log)
        return self.found

    async def answered(self) -> dict[str, PredictionMade]:
        await eventually(lambda: len(self.answers()) == self.events, within=60)
        return self.answers()


@asynccontextmanager
async def services(home: Path, broker: MemoryBroker):
    """One process of each, for the length of a block."""
    settings = SqlSettings(poll_seconds=0.05, backoff=Backoff(0.001, 0.01))
    records = registry.assemble(
        RegistrySettings(registry_database_url=f"sqlite:///{home}/registry.db", millrace_home=home),
        broker,
        chance=lambda: 0.5,
        clock=FixedClock(NOON),
    )
    watch = monitoring.assemble(
        MonitoringSettings(monitoring_database_url=f"sqlite:///{home}/monitoring.db"),
        broker,
        chance=lambda: 0.5,
    )
    serve = serving.assemble(
        ServingSettings(
            millrace_home=home,
            object_store_url=f"file://{home}/objects",
            serving_state_dir=home / "serving",
            serving_explainers=0,
            serving_online_store=False,
        ),
        broker=broker,
        clock=FixedClock(NOON),
    )
    decide = registry_worker(records, settings)
    try:
        async with running(decide, monitoring_worker(watch, settings), *components(serve)):
            await apply(records, decide, FILE)
            yield Loop(home, broker, records)
        await asyncio.get_running_loop().shutdown_default_executor()
    finally:
        records.database.close()
        watch.database.close()


@pytest.fixture
async def loop(tmp_path: Path):
    broker = MemoryBroker()
    await ensure_topics(broker)
    local_key(tmp_path / "keys")
    async with services(tmp_path, broker) as made:
        yield made


async def begin(loop: Loop, challenger: float) -> None:
    """Version 1 errs by 10; version 2, a canary, by this much."""
    loop.train(1, 10.0)
    # before it is loaded, the pipeline's fallback would answer
    await eventually(lambda: loop.broker.records("millrace.deployments"), within=60)
    loop.train(2, challenger)
    await eventually(lambda: "ChallengerStarted" in loop.kinds(), within=60)
    loop.live(1)
    await loop.answered()


async def test_a_better_challenger_goes_all_the_way_by_itself(loop):
    await begin(loop, 0.0)
    while loop.kinds().count("ModelPromoted") < 2:
        assert loop.events < 3_000
        loop.live(40)
        await loop.answered()
        await asyncio.sleep(0.05)
    await eventually(lambda: any(loop_answers_with(loop, 2)), within=60)
    answers = await loop.answered()

    steps = [one for one in loop.models() if type(one).__name__ == "ChallengerStarted"]
    assert [one.traffic_share for one in steps] == [0.25, 0.5]
    promoted = loop.models()[-1]
    assert (promoted.version, promoted.epoch, promoted.previous_version) == (2, 2, 1)
    assert len(answers) == loop.events
    assert {one.model_version for one in answers.values()} == {1, 2}
    sides: dict[str, set[int]] = {}
    for number in range(1, loop.events + 1):
        one = answers[f"e{number}"]
        versions = sides.setdefault(one.entity, set())
        assert one.model_version == 2 or 2 not in versions, "an entity came back from its side"
        versions.add(one.model_version)


def loop_answers_with(loop: Loop, version: int):
    loop.live(1)
    return (one.model_version == version and one.epoch == 2 for one in loop.answers().values())


def is_worse(loop: Loop) -> bool:
    return any(
        getattr(one, "verdict", 0) == drift_pb2.CHALLENGER_VERDICT_WORSE
        for one in loop.heard("millrace.drift", drift_pb2)
    )


async def test_a_worse_challenger_is_taken_back_and_answers_nobody_soon_after(loop):
    """On logical terms: from the comparison that proves it worse, a decision and a message each lie between it and its last
    answer: no timer, no person. Events that come meanwhile may be its; of those after, none is."""
    await begin(loop, 40.0)
    while not is_worse(loop):
        assert loop.events < 3_000
        loop.live(10)
        await loop.answered()
        await asyncio.sleep(0.05)
    breach, at_breach, last, ended = time.perf_counter(), loop.events, 0, 0.0
    while loop.events < at_breach + 400:
        before = loop.events
        loop.live(4)
        answers = await loop.answered()
        mine = [
            n for n in range(before + 1, loop.events + 1) if answers[f"e{n}"].model_version == 2
        ]
        if mine:
            last, ended = mine[-1], time.perf_counter()
        if "ModelRejected" in loop.kinds() and loop.events >= (last or at_breach) + ENTITIES:
            break
    logging.getLogger("measured").warning(
        "from the breach on the topic to the challenger's last answer: %.0f ms, %d events",
        max(0.0, ended - breach) * 1e3, max(0, last - at_breach),
    )  # fmt: skip

    # every entity has been seen since, and is the champion's
    assert loop.events >= (last or at_breach) + ENTITIES
    rejection = loop.models()[-1]
    assert type(rejection).__name__ == "ModelRejected"
    assert rejection.version == 2
    assert "worse than version 1" in rejection.reason
    assert len(answers) == loop.events
    assert {answers[f"e{n}"].model_version for n in range(1, at_breach + 1)} == {1, 2}
