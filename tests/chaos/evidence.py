"""Reading what a run left behind, on topics and in databases, when it has come to rest."""

import asyncio
import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from google.protobuf.message import Message as Proto
from sqlalchemy import text
from tests.chaos.history import NAME, number_of
from tests.chaos.history import TOPIC as RAW
from tests.chaos.judge import Evidence, Kept, Learnt, Loop, Promoted, Topic, Watched
from tests.chaos.world import World

from millrace_bus.broker import Broker
from millrace_bus.sql import Database
from millrace_contracts.catalogue import dead_letters_of
from millrace_contracts.message import Message
from millrace_proto.v1 import (
    events_pb2,
    features_pb2,
    labels_pb2,
    models_pb2,
    predictions_pb2,
    training_pb2,
)
from millrace_testkit.streaming import effective_batches

_PACKAGE = "millrace.v1."
_KINDS: Mapping[str, Any] = {
    f"{_PACKAGE}{kind.DESCRIPTOR.name}": kind
    for kind in (
        events_pb2.EventAccepted,
        features_pb2.FeaturesComputed,
        predictions_pb2.PredictionMade,
        labels_pb2.LabelObserved,
        training_pb2.RetrainRequested,
        training_pb2.TrainingCompleted,
        training_pb2.TrainingFailed,
        models_pb2.ModelRegistered,
        models_pb2.ModelPromoted,
        models_pb2.ModelRejected,
    )
}
_DATA_TOPICS = ("events", "features", "predictions", "labels")
_LOOP_TOPICS = ("training", "models")
QUIET_TOPICS = tuple(f"millrace.{name}" for name in (*_DATA_TOPICS, *_LOOP_TOPICS, "drift"))


class Reading:
    """Everything that one pass over the topics adds up to."""

    def __init__(self) -> None:
        self.topics = {name: Topic() for name in _DATA_TOPICS}
        self.answers: Counter[int] = Counter()
        self.unanswerable: set[int] = set()
        self.vectors: dict[int, bytes] = {}
        self.requested: list[tuple[str, str]] = []
        self.ended: list[str] = []
        self.completed: list[str] = []
        self.registered: list[str] = []
        self.promoted: list[Promoted] = []
        self.rejected: list[str] = []

    async def read(self, broker: Broker, names: Iterable[str]) -> None:
        for name in names:
            async for messages in effective_batches(broker, f"millrace.{name}"):
                for message in messages:
                    self._take(message, name)
                await asyncio.sleep(0)

    @property
    def loop(self) -> Loop:
        return Loop(
            self.requested,
            self.ended,
            self.completed,
            self.registered,
            self.promoted,
            self.rejected,
        )

    @property
    def is_over(self) -> bool:
        """Whether every run that was asked for has ended, and every candidate has its verdict."""
        settled = {promotion.run_id for promotion in self.promoted} | set(self.rejected)
        return {run for run, _ in self.requested} <= set(self.ended) and set(
            self.completed
        ) <= settled

    def _take(self, message: Message, name: str) -> None:
        kind = _KINDS.get(message.type)
        if kind is None:
            return
        event: Any = kind.FromString(message.value)
        if name in self.topics:
            number = number_of(event.event_id)
            entity = getattr(event, "entity", "") or str(number)
            self.topics[name].saw(number, entity, message.partition)
            self._note_data(event, number)
        else:
            self._note_loop(event)

    def _note_data(self, event: Any, number: int) -> None:
        match event:
            case features_pb2.FeaturesComputed():
                self.vectors[number] = digest(event)
            case predictions_pb2.PredictionMade():
                if event.HasField("value"):
                    self.answers[event.model_version] += 1
                else:
                    self.unanswerable.add(number)
            case _:
                pass

    def _note_loop(self, event: Proto) -> None:
        match event:
            case training_pb2.RetrainRequested():
                self.requested.append((event.run_id, f"{event.trigger}/{event.cause_id}"))
            case training_pb2.TrainingCompleted():
                self.completed.append(event.run_id)
                self.ended.append(event.run_id)
            case training_pb2.TrainingFailed():
                self.ended.append(event.run_id)
            case models_pb2.ModelRegistered():
                self.registered.append(event.run_id)
            case models_pb2.ModelPromoted():
                self.promoted.append(Promoted(event.epoch, event.run_id))
            case models_pb2.ModelRejected():
                self.rejected.append(event.run_id)
            case _:
                pass


def digest(event: features_pb2.FeaturesComputed) -> bytes:
    """Of a vector's bytes: two that differ in one bit of one number differ in this."""
    numbers = struct.pack(f"<{len(event.numbers)}d", *event.numbers)
    words = "\0".join(event.categories).encode()
    return hashlib.blake2b(numbers + b"\1" + words, digest_size=8).digest()


async def gather(world: World, events: int, answered_by_http: Iterable[int]) -> Evidence:
    """Read it all. The services may still run; nothing of theirs changes any more."""
    reading = Reading()
    await reading.read(world.broker, (*_DATA_TOPICS, *_LOOP_TOPICS))
    watched, learnt, kept = await asyncio.to_thread(_databases, world)
    return Evidence(
        events=events,
        accepted=reading.topics["events"],
        featured=reading.topics["features"],
        scored=reading.topics["predictions"],
        labelled=reading.topics["labels"],
        answered_by_http=frozenset(answered_by_http),
        answers=reading.answers,
        unanswerable=frozenset(reading.unanswerable),
        vectors=reading.vectors,
        loop=reading.loop,
        watched=watched,
        learnt=learnt,
        kept=kept,
        dead_letters=await _dead_letters(world.broker),
    )


async def loop_is_over(broker: Broker) -> bool:
    reading = Reading()
    await reading.read(broker, _LOOP_TOPICS)
    return reading.is_over


async def ends_of(broker: Broker, topics: Iterable[str]) -> dict[str, int]:
    """How many messages each topic holds, repeats included."""
    consumer = broker.consumer()
    await consumer.start()
    try:
        ends = await consumer.ends(await consumer.assign(list(topics)))
    finally:
        await consumer.stop()
    found: dict[str, int] = {}
    for place, end in ends.items():
        found[place.topic] = found.get(place.topic, 0) + end
    return found


async def _dead_letters(broker: Broker) -> dict[str, int]:
    read = [
        RAW,
        *(f"millrace.{name}" for name in (*_DATA_TOPICS, *_LOOP_TOPICS, "drift", "pipelines")),
    ]
    there = await broker.topics()
    names = [dead_letters_of(name) for name in read if dead_letters_of(name) in there]
    return {name: count for name, count in (await ends_of(broker, names)).items() if count}


def _databases(world: World) -> tuple[Watched, Learnt, Kept]:
    monitoring, training, registry = (
        Database(world.database_url(name)) for name in ("monitoring", "training", "registry")
    )
    try:
        learnt = Learnt(
            _rows(training, world, "vectors"),
            _rows(training, world, "labels"),
        )
        kept = Kept(
            champion_epoch=int(_column(registry, "SELECT epoch FROM pipelines")[0]),
            versions=_column(registry, "SELECT run_id FROM model_versions"),
            runs=_column(training, "SELECT run_id FROM runs"),
        )
        return _watched(monitoring), learnt, kept
    finally:
        for database in (monitoring, training, registry):
            database.close()


def _watched(database: Database) -> Watched:
    states = _column(database, "SELECT state FROM monitors")
    state = msgspec.msgpack.decode(bytes(states[0])) if states and states[0] else {}
    waiting = _column(database, "SELECT event_id FROM waiting")
    return Watched(
        heard=state.get("heard", 0),
        joined={version: tally["events"] for version, tally in state.get("tallies", {}).items()},
        waiting=Counter(number_of(event) for event in waiting),
    )


def _rows(database: Database, world: World, kind: str) -> Counter[int]:
    """Rows in the lake and on their way there. One in both places has one offset: it was killed between the two."""
    with database.reading() as connection:
        found = connection.execute(text(f'SELECT event_id, "offset" FROM staged_{kind}'))
        staged = [(event, offset) for event, offset in found]
    try:
        table = DeltaTable(f"{world.objects}/lake/{NAME}/{kind}").to_pyarrow_table(
            columns=["event_id", "offset"]
        )
        settled = list(
            zip(*(table[name].to_pylist() for name in ("event_id", "offset")), strict=True)
        )
    except TableNotFoundError:
        settled = []
    apart = set(staged) - set(settled)
    repeated = Counter(staged) - Counter(set(staged))
    rows = [event for event, _ in [*settled, *apart, *repeated.elements()]]
    return Counter(number_of(event) for event in rows)


def _column(database: Database, query: str) -> list[Any]:
    with database.reading() as connection:
        return [row[0] for row in connection.execute(text(query))]
