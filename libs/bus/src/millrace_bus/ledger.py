"""Positions, fences and the outbox of one transaction: the rows that make a batch happen exactly once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from millrace_bus import tables
from millrace_bus.broker import TopicPartition
from millrace_contracts.message import Outgoing
from millrace_kernel.errors import TransientError

LOCAL = TopicPartition("", 0)
_FENCES_AT_ONCE = 500


class PositionMovedError(TransientError):
    """Another process committed this partition meanwhile: this one lost it, and its work is void."""


class Ledger:
    """The bus's rows, through one transaction's connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def position(self, place: TopicPartition) -> int | None:
        row = self._connection.execute(
            select(tables.positions.c.next_offset).where(
                tables.positions.c.topic == place.topic,
                tables.positions.c.partition == place.partition,
            )
        ).first()
        return None if row is None else int(row[0])

    def move(self, place: TopicPartition, expected: int | None, position: int) -> None:
        """Compare-and-set. Raises PositionMovedError when it is not where it was expected."""
        table = tables.positions
        if expected is None:
            row = {"topic": place.topic, "partition": place.partition, "next_offset": position}
            statement = _upsert(self._connection, table, replace=()).values(row)
        else:
            statement = (
                update(table)
                .where(
                    table.c.topic == place.topic,
                    table.c.partition == place.partition,
                    table.c.next_offset == expected,
                )
                .values(next_offset=position)
            )
        # RETURNING, because drivers differ in what they count for an insert that met a conflict
        if self._connection.execute(statement.returning(table.c.next_offset)).first() is None:
            raise PositionMovedError(
                f"{place.topic}/{place.partition} is no longer at {expected}: another process owns it now"
            )

    def fences(self, place: TopicPartition, sources: Iterable[str]) -> dict[str, str]:
        """The newest sequence seen of each of these sources."""
        table, found = tables.fences, dict[str, str]()
        names = sorted(set(sources))
        for start in range(0, len(names), _FENCES_AT_ONCE):
            rows = self._connection.execute(
                select(table.c.source, table.c.sequence).where(
                    table.c.topic == place.topic,
                    table.c.partition == place.partition,
                    table.c.source.in_(names[start : start + _FENCES_AT_ONCE]),
                )
            )
            found.update((row[0], row[1]) for row in rows)
        return found

    def advance(self, place: TopicPartition, source: str, sequence: str) -> bool:
        """Raise one fence; False when it stands as high already. Locks it: a second process waits for the first one's end."""
        table = tables.fences
        row = {
            "topic": place.topic,
            "partition": place.partition,
            "source": source,
            "sequence": sequence,
        }
        dialect: Any = sqlite if self._connection.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(table).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={"sequence": statement.excluded.sequence},
            where=table.c.sequence < statement.excluded.sequence,
        )
        return self._connection.execute(statement.returning(table.c.sequence)).first() is not None

    def raise_fences(self, place: TopicPartition, sequences: Mapping[str, str]) -> None:
        rows = [
            {
                "topic": place.topic,
                "partition": place.partition,
                "source": source,
                "sequence": newest,
            }
            for source, newest in sequences.items()
        ]
        if rows:
            self._connection.execute(
                _upsert(self._connection, tables.fences, replace=("sequence",)), rows
            )

    def put_out(self, messages: Sequence[Outgoing]) -> None:
        """Owe these to others: the relay publishes them in this order."""
        if messages:
            self._connection.execute(
                insert(tables.outbox), [_outbox_row(message) for message in messages]
            )

    def owed(self, limit: int) -> list[tuple[int, Outgoing]]:
        """The oldest messages that wait, with their row numbers."""
        table = tables.outbox
        rows = self._connection.execute(
            select(table).order_by(table.c.number).limit(limit)
        ).mappings()
        return [(row["number"], _outgoing(row)) for row in rows]

    def paid(self, numbers: Sequence[int]) -> None:
        self._connection.execute(delete(tables.outbox).where(tables.outbox.c.number.in_(numbers)))


def _upsert(connection: Connection, table: Any, replace: Sequence[str]) -> Any:
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    keys = list(table.primary_key.columns)
    if not replace:
        return statement.on_conflict_do_nothing(index_elements=keys)
    return statement.on_conflict_do_update(
        index_elements=keys, set_={name: statement.excluded[name] for name in replace}
    )


def _outbox_row(message: Outgoing) -> dict[str, Any]:
    headers = dict(message.headers)
    return {
        "id": _shown(headers.get("ce_id"), 64),
        "aggregatetype": message.topic,
        "aggregateid": _shown(message.key, 1000),
        "type": _shown(headers.get("ce_type"), 200),
        "payload": message.value,
        "key": message.key,
        "headers": msgspec.msgpack.encode(message.headers),
        "timestamp_ms": message.timestamp,
    }


def _shown(content: bytes | None, longest: int) -> str:
    """For people and for Debezium; what is published are the bytes. PostgreSQL's texts hold no NUL."""
    return (content or b"").decode("utf-8", "replace").replace("\x00", "\ufffd")[:longest]


# a header of a dead letter may be null, as its sender sent it
_HEADERS: Any = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]])


def _outgoing(row: Any) -> Outgoing:
    key, payload = row["key"], row["payload"]
    return Outgoing(
        topic=row["aggregatetype"],
        key=None if key is None else bytes(key),
        value=None if payload is None else bytes(payload),
        headers=_HEADERS.decode(bytes(row["headers"])),
        timestamp=row["timestamp_ms"],
    )
