"""Poison of every kind: a dead letter with a reason in words, or a reading that is written down; never a crash or a stop.

Here the readers of the bus, in both forms; the wire table of every service is in `test_wire_tables.py`, the fence, which one
absurd sequence must not shut, in `test_fence.py`, what users send raw in `services/ingestion/tests/unit/test_poison.py`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, MetaData, String, Table, select

from millrace_bus.retry import Backoff
from millrace_bus.sql import Database
from millrace_bus.sql_worker import SqlSettings, SqlWorker
from millrace_bus.stream import StreamWorker
from millrace_bus.topology import ensure_topics
from millrace_bus.unit import inject
from millrace_contracts.message import Outgoing
from millrace_proto.v1.events_pb2 import EventAccepted
from millrace_testkit.counting import WIRE, Counted, Seen, decode_counted, seen_record
from millrace_testkit.counting_readers import stream_reader
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker
from millrace_testkit.poison import BROKEN, KEY, POISON, SQL_ONLY, Headers, given_headers

EVENTS, DLQ = "millrace.events", "millrace.events.dlq"


NOTES = MetaData()
NOTED = Table("noted", NOTES, Column("entity", String(20), primary_key=True))


class SqlNoted:
    """A table with room for twenty characters; what it was given is written at the end, as repositories do."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._entities: set[str] = set()

    def put(self, entity: str) -> None:
        self._entities.add(entity)

    def flush(self) -> None:
        known = set(self._connection.scalars(select(NOTED.c.entity)))
        rows = [{"entity": entity} for entity in sorted(self._entities - known)]
        if rows:
            self._connection.execute(NOTED.insert(), rows)


def sql(broker: MemoryBroker, database: Database) -> SqlWorker:
    def on_seen(event: Seen, noted: SqlNoted) -> Iterator[Counted]:
        noted.put(event.entity)
        yield Counted(event.event_id, event.entity, 1, event.number)

    return SqlWorker(
        "features",
        [EVENTS],
        wire=WIRE,
        handlers={Seen: inject(on_seen, noted=SqlNoted)},
        database=database,
        broker=broker,
        chance=lambda: 0.5,
        settings=SqlSettings(poll_seconds=0.02, backoff=Backoff(0.001, 0.01)),
    )


@pytest.fixture
def database(database: Database) -> Database:
    with database.transaction() as connection:
        NOTES.create_all(connection)
    return database


async def outcome(
    poison: tuple[bytes | None, Headers, bytes | None],
    worker: Callable[[MemoryBroker], StreamWorker | SqlWorker],
) -> tuple[list[str], list[str]]:
    """One poisonous message between two that are well: which events were answered, and why which letters died."""
    value, headers, key = poison
    broker = MemoryBroker()
    await ensure_topics(broker)
    middle = Outgoing(EVENTS, key, value, headers, 1_000)
    await broker.producer().send(EVENTS, 0, [seen_record(4, "a"), middle, seen_record(6, "b")])
    async with running(worker(broker)):
        await eventually(
            lambda: any(b"e6" in (r.value or b"") for r in broker.records("millrace.features"))
        )
    answered = sorted(
        decode_counted(record.value or b"").event_id
        for record in broker.records("millrace.features")
    )
    letters = broker.records(DLQ)
    assert all((record.key, record.value) == (key, value) for record in letters)
    reasons = [dict(r.headers)["__connect.errors.exception.message"].decode() for r in letters]
    assert all(len(reason) <= 4_000 for reason in reasons)
    return answered, reasons


def judge(answered: list[str], reasons: list[str], expected: str | None) -> None:
    if expected is None:
        assert (answered, reasons) == (["e4", "e5", "e6"], [])
    elif expected == "":
        assert (answered, reasons) == (["e4", "e6"], [])
    else:
        assert answered == ["e4", "e6"]
        [reason] = reasons
        assert expected in reason


@pytest.mark.parametrize("name", POISON)
async def test_a_stream_goes_on_past_poison(name: str, tmp_path: Path) -> None:
    *poison, expected = POISON[name]
    answered, reasons = await outcome(tuple(poison), lambda broker: stream_reader(broker, tmp_path))  # type: ignore[arg-type]
    judge(answered, reasons, expected)


@pytest.mark.parametrize("name", [*POISON, *SQL_ONLY])
async def test_a_database_reader_goes_on_past_poison(name: str, database: Database) -> None:
    *poison, expected = (POISON | SQL_ONLY)[name]
    answered, reasons = await outcome(tuple(poison), lambda broker: sql(broker, database))  # type: ignore[arg-type]
    judge(answered, reasons, expected)


async def test_a_tombstone_where_none_belongs_says_nothing_to_a_database_reader(
    database: Database,
) -> None:
    answered, reasons = await outcome(
        (None, given_headers(), KEY), lambda broker: sql(broker, database)
    )
    judge(answered, reasons, "")


async def test_a_tombstone_where_none_belongs_dies_in_a_stream(tmp_path: Path) -> None:
    answered, reasons = await outcome(
        (None, given_headers(), KEY), lambda broker: stream_reader(broker, tmp_path)
    )
    judge(answered, reasons, BROKEN)


@pytest.mark.parametrize("entity", ["nul\0nul", "too long for its column" * 9])
@pytest.mark.db
async def test_what_the_database_refuses_is_a_dead_letter(
    entity: str, new_database: Callable[[str], Database]
) -> None:
    database = new_database("postgres")
    with database.transaction() as connection:
        NOTES.create_all(connection)
    value = EventAccepted(event_id="e5", entity=entity, numbers=[1.0]).SerializeToString()
    answered, reasons = await outcome(
        (value, given_headers(), KEY), lambda broker: sql(broker, database)
    )
    judge(answered, reasons, "the database refuses")
