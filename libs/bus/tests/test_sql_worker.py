"""The SQL form keeps the same promise, on SQLite and on PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from millrace_bus import tables
from millrace_bus.broker import TopicPartition
from millrace_bus.dead_letters import TooManyDeadLettersError
from millrace_bus.sql import Database
from millrace_bus.sql_worker import Local, SqlWorker
from millrace_bus.timer import Timer
from millrace_bus.topology import ensure_topics
from millrace_bus.unit import Unit
from millrace_contracts.message import Cause
from millrace_kernel.errors import PermanentError, TransientError
from millrace_kernel.time import SECOND, Duration, Instant
from millrace_testkit.clock import FixedClock
from millrace_testkit.counting import POISON, Counting, Seen, answers_in, effective_in, seen_record
from millrace_testkit.counting_readers import sql_reader
from millrace_testkit.counting_sql import COUNTS
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker

EVENTS, FEATURES = "millrace.events", "millrace.features"
ENTITIES = [f"entity-{number % 5}" for number in range(100)]


async def broker_with(entities: list[str]) -> MemoryBroker:
    broker = MemoryBroker()
    await ensure_topics(broker)
    for number, entity in enumerate(entities):
        await broker.producer().send(
            EVENTS, sum(entity.encode()) % 4, [seen_record(number, entity)]
        )
    return broker


def assert_counted_once(broker: MemoryBroker, database: Database, entities: list[str]) -> None:
    assert Counter(answer.event_id for answer in effective_in(broker.records(FEATURES))) == Counter(
        f"e{n}" for n in range(len(entities))
    )
    totals: Counter[str] = Counter()
    for number, entity in enumerate(entities):
        totals[entity] += number
    with database.reading() as connection:
        rows = connection.execute(select(COUNTS.c.entity, COUNTS.c.count, COUNTS.c.total)).all()
        assert connection.execute(select(tables.outbox.c.number)).first() is None
    assert {row[0]: row[2] for row in rows} == dict(totals)
    assert {row[0]: row[1] for row in rows} == Counter(entities)


async def settled(broker: MemoryBroker, database: Database, count: int) -> None:
    def quiet() -> bool:
        with database.reading() as connection:
            empty = connection.execute(select(tables.outbox.c.number)).first() is None
        return (
            empty
            and len({answer.event_id for answer in answers_in(broker.records(FEATURES))}) == count
        )

    await eventually(quiet, within=20)


async def test_every_event_is_answered_once_and_state_adds_up(database: Database) -> None:
    broker = await broker_with(ENTITIES)
    async with running(sql_reader(broker, database)):
        await settled(broker, database, 100)
    assert len(answers_in(broker.records(FEATURES))) == 100
    assert_counted_once(broker, database, ENTITIES)


async def test_what_a_repository_fetched_beforehand_is_what_its_handlers_ask_for(
    database: Database,
) -> None:
    broker = await broker_with([POISON if number == 50 else e for number, e in enumerate(ENTITIES)])
    asked: list[tuple[Unit, set[str]]] = []

    def foresee(events: Sequence[Seen], unit: Unit) -> None:
        asked.append((unit, {event.event_id for event in events}))

    async with running(sql_reader(broker, database, foresee=foresee)):
        await settled(broker, database, len(ENTITIES) - 1)

    assert len({id(unit) for unit, _ in asked}) == len(asked)  # once in a transaction
    assert max(len(ids) for _, ids in asked) == 7
    answered = {answer.event_id for answer in effective_in(broker.records(FEATURES))}
    foreseen = set().union(*(ids for _, ids in asked))
    assert foreseen == answered | {"e50"}
    assert "e50" not in asked[-1][1]  # left out once it was known to be poison


async def test_a_killed_relay_publishes_again_and_readers_drop_it(database: Database) -> None:
    lost = {"left": 5}

    def fault(at: str, place: TopicPartition) -> None:
        if place.topic == FEATURES and at == "acknowledge" and lost["left"]:
            lost["left"] -= 1
            raise TransientError("the answer is lost")

    broker = await broker_with(ENTITIES)
    broker.fault = fault
    async with running(sql_reader(broker, database)):
        await settled(broker, database, 100)
    assert len(answers_in(broker.records(FEATURES))) > 100
    assert_counted_once(broker, database, ENTITIES)


async def test_two_processes_on_one_database_count_everything_once(database: Database) -> None:
    broker = await broker_with(ENTITIES)
    async with running(sql_reader(broker, database, max_records=2)):
        await eventually(lambda: len(answers_in(broker.records(FEATURES))) > 10)
        async with running(sql_reader(broker, database, max_records=2)):
            await eventually(
                lambda: (
                    len({answer.event_id for answer in answers_in(broker.records(FEATURES))}) > 80
                )
            )
        await settled(broker, database, 100)
    assert_counted_once(broker, database, ENTITIES)


async def test_a_process_that_lost_its_partitions_cannot_commit(database: Database) -> None:
    broker = await broker_with(ENTITIES)
    zombie = sql_reader(broker, database)
    zombie._positions = {TopicPartition(EVENTS, number): 0 for number in range(4)}
    async with running(sql_reader(broker, database)):
        await settled(broker, database, 100)
    consumer = broker.consumer()
    zombie._sessions.consumer = consumer
    await consumer.assign([EVENTS])
    for number in range(4):
        place = TopicPartition(EVENTS, number)
        await zombie._advance(consumer, place, broker.logs[place])
        zombie._sessions.forget(place)
    assert_counted_once(broker, database, ENTITIES)


async def test_poison_is_left_out_of_its_batch_and_dead_lettered(database: Database) -> None:
    broker = await broker_with(["a", POISON, "a", POISON, "b"])
    async with running(sql_reader(broker, database)):
        await eventually(
            lambda: (
                len(answers_in(broker.records(FEATURES))) == 3
                and len(broker.records(EVENTS + ".dlq")) == 2
            )
        )
    letter = dict(broker.records(EVENTS + ".dlq")[0].headers)
    assert letter["kafka_dlt-exception-message"] == b"this entity is poison"
    assert effective_in(broker.records(FEATURES))[0].total == 0.0
    assert {answer.entity: answer.count for answer in effective_in(broker.records(FEATURES))} == {
        "a": 2,
        "b": 1,
    }


async def test_too_many_dead_letters_in_a_row_stop_the_reader(database: Database) -> None:
    broker = await broker_with([POISON] * 20)
    with pytest.raises(ExceptionGroup) as failure:
        async with asyncio.timeout(10):
            await sql_reader(broker, database, max_dead_letters_in_a_row=5).run()
    assert failure.group_contains(TooManyDeadLettersError)


async def test_a_passing_failure_holds_its_partition_and_no_other(database: Database) -> None:
    heart = Counting()
    heart.blocked.add("a")
    broker = await broker_with(["a", "b", "a", "b"])
    async with running(sql_reader(broker, database, heart)):
        await eventually(
            lambda: (
                {answer.entity for answer in answers_in(broker.records(FEATURES))} == {"b"}
                and len(answers_in(broker.records(FEATURES))) == 2
            )
        )
        heart.blocked.clear()
        await settled(broker, database, 4)
    assert_counted_once(broker, database, ["a", "b", "a", "b"])


async def test_a_local_input_counts_once_for_its_sequence(database: Database) -> None:
    broker = await broker_with([])
    cause = Cause("request-1", Instant(7), "request-1")
    async with running(service := sql_reader(broker, database)):
        first = Local("http/a", "0000000000000001", Seen("e0", "a", 5.0), cause)
        assert await service.accept(first)
        assert not await service.accept(first)
        assert await service.accept(
            Local("http/a", "0000000000000002", Seen("e1", "a", 6.0), cause)
        )
        with pytest.raises(PermanentError):
            await service.accept(
                Local("http/a", "0000000000000003", Seen("e2", POISON, 6.0), cause)
            )
        await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 2)
    assert [answer.total for answer in answers_in(broker.records(FEATURES))] == [5.0, 11.0]
    headers = dict(broker.records(FEATURES)[1].headers)
    assert headers["ce_source"] == b"millrace/features/http/a"
    assert headers["ce_sequence"] == b"0000000000000002.00000"
    assert headers["ce_causationid"] == b"request-1"


async def test_a_dead_letter_whose_key_holds_a_nul_is_kept_as_it_came(database: Database) -> None:
    """PostgreSQL stores no NUL in text; the key itself is bytes."""
    broker = await broker_with([])
    record = seen_record(0, POISON)
    record.key = b"a\x00b"
    await broker.producer().send(EVENTS, 0, [record])
    async with running(sql_reader(broker, database)):
        await eventually(lambda: broker.records(EVENTS + ".dlq"))
    assert broker.records(EVENTS + ".dlq")[0].key == b"a\x00b"


async def test_a_tick_is_handled_once_however_many_instances_have_the_timer(
    database: Database,
) -> None:
    broker = await broker_with([])

    def timer(accepting: SqlWorker, own: FixedClock) -> Timer:
        async def sleep(seconds: float) -> None:
            own.advance(Duration(round(seconds * SECOND)))
            await asyncio.sleep(0.01)

        return Timer(
            "hourly",
            Duration(100),
            worker=accepting,
            event=lambda tick: Seen(f"tick-{tick}", "clock", 1.0),
            clock=own,
            sleep=sleep,
        )

    one, other = sql_reader(broker, database), sql_reader(broker, database)
    async with running(one, other):
        async with running(
            timer(one, FixedClock(Instant(95))), timer(other, FixedClock(Instant(95)))
        ):
            await eventually(lambda: len(answers_in(broker.records(FEATURES))) >= 5)
        with database.reading() as connection:
            handled = connection.execute(select(COUNTS.c.count)).scalar_one()
        await settled(broker, database, handled)
    ticks = [answer.event_id for answer in effective_in(broker.records(FEATURES))]
    assert ticks == [f"tick-{100 * (number + 1)}" for number in range(len(ticks))]
    sequences = [dict(record.headers)["ce_sequence"] for record in broker.records(FEATURES)]
    assert sequences[0] == b"0000000000000000100.00000"


async def test_a_reader_whose_outputs_cannot_leave_stops_reading_and_goes_on_when_they_can(
    database: Database,
) -> None:
    away = {"away": True}

    def fault(at: str, place: TopicPartition) -> None:
        if away["away"] and place.topic == FEATURES:
            raise TransientError("the broker takes nothing")

    def owed() -> int:
        with database.reading() as connection:
            return len(connection.execute(select(tables.outbox.c.number)).all())

    broker = await broker_with(ENTITIES)
    broker.fault = fault
    async with running(sql_reader(broker, database, max_records=5, max_outbox=20)):
        await eventually(lambda: owed() > 20)
        await asyncio.sleep(0.2)
        assert owed() <= 25
        away["away"] = False
        await settled(broker, database, 100)
    assert_counted_once(broker, database, ENTITIES)


async def test_positions_alone_keep_what_carries_no_sequence_from_counting_twice(
    database: Database,
) -> None:
    """Commands come from clients that do not count: no fence helps them, only the compare-and-set."""
    broker = await broker_with([])
    for number in range(20):
        record = seen_record(number, "a")
        record.headers = [header for header in record.headers if header[0] != "ce_sequence"]
        await broker.producer().send(EVENTS, 0, [record])
    zombie = sql_reader(broker, database)
    zombie._positions = {TopicPartition(EVENTS, 0): 0}
    async with running(sql_reader(broker, database)):
        await settled(broker, database, 20)
    consumer = zombie._sessions.consumer = broker.consumer()
    await consumer.assign([EVENTS])
    place = TopicPartition(EVENTS, 0)
    await zombie._advance(consumer, place, broker.logs[place])
    zombie._sessions.forget(place)
    async with running(sql_reader(broker, database)):  # and a restart goes on from the position
        await asyncio.sleep(0.2)
    assert_counted_once(broker, database, ["a"] * 20)
