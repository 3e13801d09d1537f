"""The topic catalogue: which topics there are, who writes them, who reads them, what they carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

import msgspec
import yaml

PACKAGE = "millrace.v1"
DEAD_LETTERS = ".dlq"
RAW_TOPIC_PREFIX = "millrace.raw."


class Writer(StrEnum):
    INGESTION = "ingestion"
    FEATURES = "features"
    TRAINING = "training"
    REGISTRY = "registry"
    SERVING = "serving"
    MONITORING = "monitoring"
    CLIENT = "client"


class Trace(StrEnum):
    """How an event of this type joins a distributed trace."""

    ROOT = "root"  # starts a trace of its own, always sampled, linked to its cause
    ALWAYS = "always"  # goes on with the cause's trace, or starts one: always sampled
    ENTRY = "entry"  # goes on with the producer's trace, or starts one by the sampling ratio
    FOLLOW = "follow"  # sampled exactly when its cause was


class EventType(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    trace: Trace = Trace.FOLLOW


class _Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    description: str
    key: str
    writer: Writer
    readers: tuple[Writer, ...]
    partitions: int
    retention: str
    events: dict[str, EventType]
    cleanup: str = "delete"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    topics: dict[str, _Topic]


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    description: str
    key: str
    writer: Writer
    readers: tuple[Writer, ...]
    partitions: int
    retention: str  # a duration, or "forever"
    cleanup: str
    events: Mapping[str, EventType]  # by full name: millrace.v1.EventAccepted

    @property
    def dead_letters(self) -> str:
        return dead_letters_of(self.name)


class Catalogue:
    """All topics, and the way from an event type to its topic."""

    def __init__(self, topics: Mapping[str, Topic]) -> None:
        self.topics = topics
        self._by_type = {event: topic for topic in topics.values() for event in topic.events}

    def topic_of(self, event_type: str) -> Topic:
        """The one topic that carries this type. Raises KeyError with the known types."""
        try:
            return self._by_type[event_type]
        except KeyError:
            raise KeyError(
                f"{event_type} is in no topic of topics.yaml; known: {', '.join(sorted(self._by_type))}"
            ) from None

    def trace_of(self, event_type: str) -> Trace:
        return self.topic_of(event_type).events[event_type].trace


@cache
def catalogue() -> Catalogue:
    """The catalogue that ships with this version. Raises when topics.yaml says something that is not understood."""
    text = files("millrace_contracts").joinpath("topics.yaml").read_text(encoding="utf-8")
    file = msgspec.convert(yaml.safe_load(text), _File)
    return Catalogue({name: _topic(name, topic) for name, topic in file.topics.items()})


def _topic(name: str, topic: _Topic) -> Topic:
    return Topic(
        name=name,
        description=topic.description,
        key=topic.key,
        writer=topic.writer,
        readers=topic.readers,
        partitions=topic.partitions,
        retention=topic.retention,
        cleanup=topic.cleanup,
        events={f"{PACKAGE}.{event}": kind for event, kind in topic.events.items()},
    )


def dead_letters_of(topic: str) -> str:
    return topic + DEAD_LETTERS
