"""What exploring schedules has found in the bus, each as small as it gets. See docs/guarantee.md."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import select
from typing_extensions import override

from millrace_bus import tables
from millrace_bus.broker import TopicPartition
from millrace_bus.ledger import Ledger
from millrace_bus.retry import Backoff
from millrace_bus.sql import Database, DatabaseAwayError
from millrace_bus.sql_worker import Local, SqlSettings, SqlWorker
from millrace_bus.timer import Timer
from millrace_bus.topology import ensure_topics
from millrace_bus.unit import inject
from millrace_contracts.message import Cause, Outgoing
from millrace_kernel.errors import TransientError
from millrace_kernel.time import SECOND, Duration, Instant
from millrace_testkit.clock import FixedClock
from millrace_testkit.counting import WIRE, Counted, Seen, seen_record
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker, MemoryConsumer

EVENTS, FEATURES = "millrace.events", "millrace.features"


@pytest.fixture
def database(new_database: Callable[[str], Database]) -> Database:
    return new_database("sqlite")


def owed(name: str) -> Outgoing:
    return Outgoing(FEATURES, b"k", name.encode(), [("ce_id", name.encode())])


def worker(broker: MemoryBroker, database: Database) -> SqlWorker:
    def echo(event: Seen) -> list[Counted]:
        return [Counted(event.event_id, event.entity, 1, event.number)]

    return SqlWorker(
        "features",
        [EVENTS],
        wire=WIRE,
        handlers={Seen: inject(echo)},
        database=database,
        broker=broker,
        chance=lambda: 0.5,
        settings=SqlSettings(poll_seconds=0.05, backoff=Backoff(0.001, 0.01)),
    )


async def ready_broker() -> MemoryBroker:
    broker = MemoryBroker()
    await ensure_topics(broker)
    return broker


def test_a_relay_forgets_only_what_it_has_published(database: Database) -> None:
    """SQLite gave the numbers of deleted rows to new ones: with two relays, messages that nobody had published went."""
    with database.transaction() as connection:
        Ledger(connection).put_out([owed("first")])
    with database.reading() as connection:
        seen_by_slow = [number for number, _ in Ledger(connection).owed(10)]
    with database.transaction() as connection:  # the quick relay has published it too, and is done
        Ledger(connection).paid(seen_by_slow)
    with database.transaction() as connection:
        Ledger(connection).put_out([owed("second")])
    with database.transaction() as connection:
        Ledger(connection).paid(seen_by_slow)
    with database.reading() as connection:
        assert [message.value for _, message in Ledger(connection).owed(10)] == [b"second"]


class FailsOnce(MemoryConsumer):
    """Its first question for the beginnings meets a broker that is away."""

    failures = 1

    @override
    async def beginnings(self, partitions: Any) -> Mapping[TopicPartition, int]:
        if type(self).failures:
            type(self).failures -= 1
            raise TransientError("the broker is away")
        return await super().beginnings(partitions)


async def test_a_failure_while_partitions_are_assigned_does_not_leave_them_unread(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka's client swallows what a rebalance listener raises, and nobody read the partitions until the next one."""
    broker = await ready_broker()
    monkeypatch.setattr("millrace_testkit.memory.MemoryConsumer", FailsOnce)
    monkeypatch.setattr(FailsOnce, "failures", 1)
    await broker.producer().send(EVENTS, 0, [seen_record(0, "a")])
    async with running(worker(broker, database)):
        await eventually(lambda: broker.records(FEATURES))
    assert not FailsOnce.failures


class AwayOnce:
    """A worker whose database is away for a moment."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self._away = 1

    async def accept(self, local: Local) -> bool:
        if self._away:
            self._away -= 1
            raise DatabaseAwayError("the database is away")
        self.accepted.append(local.sequence)
        return True


async def test_a_tick_survives_a_database_that_is_away_for_a_moment() -> None:
    """A passing failure ended the timer, and the service with it."""
    clock, accepting, done = FixedClock(Instant(0)), AwayOnce(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        if accepting.accepted:
            done.set()
            await asyncio.Event().wait()
        clock.advance(Duration(round(seconds * SECOND)))

    timer = Timer(
        "hourly",
        Duration(10 * SECOND),
        worker=accepting,
        event=lambda tick: Seen(str(tick), "clock", 1.0),
        clock=clock,
        sleep=sleep,
    )
    async with running(timer):
        await asyncio.wait_for(done.wait(), 10)
    assert accepting.accepted == [f"{10 * SECOND:019d}"]


async def test_a_commit_whose_answer_was_lost_is_published_all_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay heard only of commits that were answered: the outbox kept the message until something else woke it."""
    broker = await ready_broker()
    async with running(service := worker(broker, database)):
        await eventually(lambda: not service._relay._work.is_set())
        accept = service._accept

        def unanswered(local: Local) -> None:
            accept(local)
            raise DatabaseAwayError("the connection broke after the commit")

        monkeypatch.setattr(service, "_accept", unanswered)
        with pytest.raises(DatabaseAwayError):
            await service.accept(
                Local("http/a", "1", Seen("e0", "a", 5.0), Cause("request", Instant(7), "request"))
            )
        await eventually(lambda: broker.records(FEATURES))
    with database.reading() as connection:
        assert connection.execute(select(tables.outbox.c.number)).first() is None
