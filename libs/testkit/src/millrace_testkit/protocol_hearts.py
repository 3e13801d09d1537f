"""What the services of the protocol's model do: count and chain each entity's items, so that anything lost, doubled or
out of order shows in every later answer. One heart, in the stream form and in the SQL form."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, select
from sqlalchemy.dialects.sqlite import insert

from millrace_bus.store import State
from millrace_contracts.message import Message, Outgoing
from millrace_contracts.wire import Encoder, WireTable
from millrace_kernel.errors import PermanentError, TransientError

METADATA = MetaData()
CHAINS = Table(
    "chains",
    METADATA,
    Column("entity", String(100), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("chain", String(40), nullable=False),
)


class Item(msgspec.Struct, frozen=True):
    """`count` and `chain` tell everything that came before it for its entity."""

    name: str
    entity: str
    count: int = 0
    chain: str = ""
    poison: bool = False


class Accepted(Item, frozen=True): ...


class Featured(Item, frozen=True): ...


class Predicted(Item, frozen=True): ...


class Drifted(Item, frozen=True): ...


KINDS: tuple[tuple[type[Item], str, str], ...] = (
    (Accepted, "millrace.v1.EventAccepted", "millrace.events"),
    (Featured, "millrace.v1.FeaturesComputed", "millrace.features"),
    (Predicted, "millrace.v1.PredictionMade", "millrace.predictions"),
    (Drifted, "millrace.v1.DriftDetected", "millrace.drift"),
)


class ItemCodec:
    """(count, chain) as text."""

    def encode(self, value: tuple[int, str]) -> bytes:
        return b"%d %s" % (value[0], value[1].encode())

    def decode(self, content: bytes) -> tuple[int, str]:
        count, chain = content.decode().split(" ")
        return int(count), chain


@dataclass(frozen=True)
class Stage:
    """The number-th service of a chain: reads `KINDS[number]`, writes `KINDS[number + 1]`."""

    number: int
    form: str  # stream or sql

    @property
    def name(self) -> str:
        return f"stage{self.number}"

    @property
    def input(self) -> str:
        return KINDS[self.number][2]

    @property
    def output(self) -> str:
        return KINDS[self.number + 1][2]

    def wire(self) -> WireTable:
        (reads, read_type, _), (writes, written_type, _) = KINDS[self.number : self.number + 2]
        return WireTable(
            {read_type: lambda message: msgspec.json.decode(message.value, type=reads)},
            [Encoder(writes, written_type, key=self.key, encode=msgspec.json.encode)],
        )

    def key(self, item: Item) -> str:
        """Another key at each stage, so that an entity changes its partition's number on the way."""
        return f"{self.number}/{item.entity}"


@dataclass
class Heart:
    """`blocked` entities fail in passing, as an absent pipeline would."""

    stage: Stage
    blocked: set[str] = field(default_factory=set)

    def next(self, known: tuple[int, str] | None, item: Item) -> tuple[tuple[int, str], list[Item]]:
        if item.poison:
            raise PermanentError(f"{item.name} is poison")
        if item.entity in self.blocked:
            raise TransientError(f"{item.entity} is not known yet")
        count, chain = known or (0, "")
        count, chain = count + 1, sha1(f"{chain} {item.name} {item.chain}".encode()).hexdigest()  # noqa: S324
        written = KINDS[self.stage.number + 1][0]
        outputs = 2 if count % 3 == 0 else 1
        names = [f"{item.name}.{index}" for index in range(outputs)]
        return (count, chain), [written(name, item.entity, count, chain) for name in names]

    def in_stream(self, message: Message, state: State) -> Iterable[object]:
        item: Item = message.event
        key = item.entity.encode()
        changed, outputs = self.next(state.get(key), item)
        state.put(key, changed)
        return outputs

    def in_sql(self, event: Item, chains: "SqlChains") -> Iterator[Item]:
        changed, outputs = self.next(chains.get(event.entity), event)
        chains.put(event.entity, changed)
        yield from outputs


class SqlChains:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, entity: str) -> tuple[int, str] | None:
        row = self._connection.execute(
            select(CHAINS.c.count, CHAINS.c.chain).where(CHAINS.c.entity == entity)
        ).first()
        return None if row is None else (row[0], row[1])

    def put(self, entity: str, changed: tuple[int, str]) -> None:
        values = {"count": changed[0], "chain": changed[1]}
        statement = insert(CHAINS).values(entity=entity, **values)
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["entity"], set_=values)
        )


def accepted(item: Accepted, sequence: int | None, source: str) -> Outgoing:
    """An item as the service before the first stage would write it; without a sequence: as a client that doesn't count."""
    headers: list[tuple[str, Any]] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", item.name.encode()),
        ("ce_source", source.encode()),
        ("ce_type", KINDS[0][1].encode()),
        ("ce_recordedtime", b"2026-01-01T00:00:00.000000Z"),
    ]
    if sequence is not None:
        headers.append(("ce_sequence", b"%016d.00000" % sequence))
    return Outgoing(KINDS[0][2], item.entity.encode(), msgspec.json.encode(item), headers, 1_000)
