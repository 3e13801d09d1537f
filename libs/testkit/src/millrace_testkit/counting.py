"""The smallest honest service, for tests of the bus and its benchmark: counts events per entity.

Reads EventAccepted, writes FeaturesComputed with the running count and sum of the first number.
"""

import struct
from collections.abc import Iterable

import msgspec

from millrace_contracts.message import Message, Outgoing
from millrace_contracts.wire import Encoder, WireTable
from millrace_kernel.errors import PermanentError, TransientError
from millrace_proto.v1.events_pb2 import EventAccepted
from millrace_proto.v1.features_pb2 import FeaturesComputed
from millrace_testkit.memory import MemoryRecord

POISON = "poison"
BLOCKED = "blocked"


class Seen(msgspec.Struct, frozen=True):
    event_id: str
    entity: str
    number: float


class Counted(msgspec.Struct, frozen=True):
    event_id: str
    entity: str
    count: int
    total: float


def decode_seen(message: Message) -> Seen:
    event = EventAccepted.FromString(message.value)
    return Seen(event.event_id, event.entity, event.numbers[0])


def encode_counted(event: Counted) -> bytes:
    _FEATURES.event_id = event.event_id
    _FEATURES.entity = event.entity
    _FEATURES.numbers[:] = (event.count, event.total)
    return _FEATURES.SerializeToString()


# filled again for each event: making a message costs more than filling one
_FEATURES = FeaturesComputed(pipeline="counting", pipeline_version=1)

WIRE = WireTable(
    decoders={"millrace.v1.EventAccepted": decode_seen},
    encoders=[
        Encoder(
            Counted,
            "millrace.v1.FeaturesComputed",
            key=lambda e: f"counting/{e.entity}",
            encode=encode_counted,
        )
    ],
)


class PairCodec:
    """(count, total) as sixteen bytes."""

    def encode(self, value: tuple[int, float]) -> bytes:
        return struct.pack("<qd", *value)

    def decode(self, content: bytes) -> tuple[int, float]:
        count, total = struct.unpack("<qd", content)
        return count, total


class Counting:
    """The heart; `blocked` makes entities fail in passing, as an absent pipeline would."""

    def __init__(self) -> None:
        self.blocked: set[str] = set()

    def next(self, known: tuple[int, float] | None, seen: Seen) -> Counted:
        if seen.entity == POISON:
            raise PermanentError("this entity is poison")
        if seen.entity in self.blocked:
            raise TransientError(f"{seen.entity} is not known yet")
        count, total = known or (0, 0.0)
        return Counted(seen.event_id, seen.entity, count + 1, total + seen.number)

    def handle(self, message: Message, state: object) -> Iterable[object]:
        seen: Seen = message.event
        key = seen.entity.encode()
        counted = self.next(state.get(key), seen)  # type: ignore[attr-defined]  # millrace_bus.store.State
        state.put(key, (counted.count, counted.total))  # type: ignore[attr-defined]
        return (counted,)


def seen_record(
    number: int, entity: str, *, source: str = "test", sequence: int | None = None
) -> Outgoing:
    """EventAccepted as ingestion would write it; `sequence` defaults to the number."""
    value = EventAccepted(
        pipeline="counting",
        pipeline_version=1,
        event_id=f"e{number}",
        entity=entity,
        numbers=(float(number),),
    ).SerializeToString()
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"id-{number}".encode()),
        ("ce_source", source.encode()),
        ("ce_type", b"millrace.v1.EventAccepted"),
        ("ce_sequence", b"%016d.00000" % (number if sequence is None else sequence)),
        ("ce_recordedtime", b"2026-01-01T00:00:00.000000Z"),
    ]
    return Outgoing("millrace.events", f"counting/{entity}".encode(), value, headers, 1_000)


def decode_counted(value: bytes) -> Counted:
    message = FeaturesComputed.FromString(value)
    return Counted(message.event_id, message.entity, int(message.numbers[0]), message.numbers[1])


def answers_in(records: Iterable[MemoryRecord]) -> list[Counted]:
    """All that was written, whether it counts or not."""
    return [decode_counted(record.value or b"") for record in records]


def effective_in(records: Iterable[MemoryRecord]) -> list[Counted]:
    """What a fencing reader sees: the newest sequence of each source and partition only moves on."""
    newest: dict[tuple[bytes, int], bytes] = {}
    seen = []
    for record in records:
        headers = dict(record.headers)
        place = (headers["ce_source"], record.partition)
        if newest.get(place, b"") < headers["ce_sequence"]:
            newest[place] = headers["ce_sequence"]
            seen.append(decode_counted(record.value or b""))
    return seen
