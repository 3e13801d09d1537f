"""The stream form keeps its promise on the in-memory broker: nothing lost, nothing twice, whatever fails."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from millrace_bus.broker import TopicPartition
from millrace_bus.dead_letters import TooManyDeadLettersError
from millrace_bus.topology import ensure_topics
from millrace_contracts.message import Record
from millrace_kernel.errors import TransientError
from millrace_testkit.counting import POISON, Counting, answers_in, effective_in, seen_record
from millrace_testkit.counting_readers import stream_reader
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker, MemoryConsumer

EVENTS, FEATURES = "millrace.events", "millrace.features"


async def broker_with(entities: list[str], broker: MemoryBroker | None = None) -> MemoryBroker:
    broker = broker or MemoryBroker()
    await ensure_topics(broker)
    producer = broker.producer()
    for number, entity in enumerate(entities):
        await producer.send(EVENTS, hash_of(entity), [seen_record(number, entity)])
    return broker


def hash_of(entity: str) -> int:
    return sum(entity.encode()) % 4


def assert_counted_once(broker: MemoryBroker, entities: list[str]) -> None:
    seen = effective_in(broker.records(FEATURES))
    assert Counter(answer.event_id for answer in seen) == Counter(
        f"e{number}" for number in range(len(entities))
    )
    totals: Counter[str] = Counter()
    for number, entity in enumerate(entities):
        totals[entity] += number
    last = {answer.entity: answer for answer in seen}
    assert {entity: answer.total for entity, answer in last.items()} == dict(totals)
    assert {entity: answer.count for entity, answer in last.items()} == Counter(entities)


ENTITIES = [f"entity-{number % 5}" for number in range(100)]


async def test_every_event_is_answered_once_and_state_adds_up(tmp_path: Path) -> None:
    broker = await broker_with(ENTITIES)
    async with running(stream_reader(broker, tmp_path)):
        await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 100)
    assert len(answers_in(broker.records(FEATURES))) == 100
    assert_counted_once(broker, ENTITIES)


async def test_a_restart_goes_on_where_the_store_stands(tmp_path: Path) -> None:
    broker = await broker_with(ENTITIES[:50])
    async with running(stream_reader(broker, tmp_path)):
        await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 50)
    producer = broker.producer()
    for number, entity in enumerate(ENTITIES[50:], 50):
        await producer.send(EVENTS, hash_of(entity), [seen_record(number, entity)])
    async with running(stream_reader(broker, tmp_path)):
        await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 100)
    assert len(answers_in(broker.records(FEATURES))) == 100
    assert_counted_once(broker, ENTITIES)


async def test_a_lost_store_makes_the_same_outputs_again_and_readers_drop_them(
    tmp_path: Path,
) -> None:
    broker = await broker_with(ENTITIES)
    for folder in ("first", "second"):
        already = len(answers_in(broker.records(FEATURES)))
        async with running(stream_reader(broker, tmp_path / folder)):
            await eventually(
                lambda already=already: len(answers_in(broker.records(FEATURES))) == already + 100
            )
    ids = Counter(dict(record.headers)["ce_id"] for record in broker.records(FEATURES))
    assert set(ids.values()) == {2}
    assert_counted_once(broker, ENTITIES)


@pytest.mark.parametrize("errand", ["append", "acknowledge"])
async def test_failing_sends_lose_and_double_nothing(tmp_path: Path, errand: str) -> None:
    countdown = {"left": 9}

    def fault(at: str, place: TopicPartition) -> None:
        if place.topic == FEATURES and at == errand and countdown["left"]:
            countdown["left"] -= 1
            if countdown["left"] % 2:
                raise TransientError("the broker is away")

    broker = await broker_with(ENTITIES)
    broker.fault = fault
    async with running(stream_reader(broker, tmp_path)):
        await eventually(
            lambda: len({answer.event_id for answer in answers_in(broker.records(FEATURES))}) == 100
        )
        await eventually(lambda: not countdown["left"])
    assert_counted_once(broker, ENTITIES)


async def test_what_was_seen_is_dropped_by_the_fence(tmp_path: Path) -> None:
    broker = await broker_with(ENTITIES)
    producer = broker.producer()
    for number, entity in enumerate(ENTITIES):
        await producer.send(EVENTS, hash_of(entity), [seen_record(number, entity)])
    await producer.send(EVENTS, hash_of("last"), [seen_record(100, "last")])
    async with running(stream_reader(broker, tmp_path)):
        await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 101)
    assert_counted_once(broker, [*ENTITIES, "last"])


async def test_poison_goes_to_the_dead_letters_with_its_reason_and_the_stream_goes_on(
    tmp_path: Path,
) -> None:
    broker = await broker_with(["a", POISON, "a", POISON, "b"])
    await broker.producer().send(EVENTS, 0, [seen_record(9, "broken", sequence=9)])
    broken = seen_record(10, "broken", sequence=10)
    broken.value = b"\xff\xff not protobuf"
    await broker.producer().send(EVENTS, 0, [broken])
    async with running(stream_reader(broker, tmp_path)):
        await eventually(
            lambda: (
                len(answers_in(broker.records(FEATURES))) == 4
                and len(broker.records(EVENTS + ".dlq")) == 3
            )
        )
    letters = [dict(record.headers) for record in broker.records(EVENTS + ".dlq")]
    reasons = sorted(letter["kafka_dlt-exception-message"].decode() for letter in letters)
    assert reasons[0].startswith(
        "Message(millrace.v1.EventAccepted at millrace.events/0/3) does not decode"
    )
    assert reasons[1:] == ["this entity is poison"] * 2
    assert all(letter["__connect.errors.topic"] == b"millrace.events" for letter in letters)


async def test_too_many_dead_letters_in_a_row_stop_the_reader(tmp_path: Path) -> None:
    broker = await broker_with([POISON] * 20)
    with pytest.raises(TooManyDeadLettersError, match="6 messages in a row"):
        async with asyncio.timeout(5):
            await stream_reader(broker, tmp_path, max_dead_letters_in_a_row=5).run()


async def test_a_passing_failure_holds_its_partition_and_no_other(tmp_path: Path) -> None:
    counting = Counting()
    counting.blocked.add("a")
    broker = await broker_with(["a", "b", "a", "b"])
    assert hash_of("a") != hash_of("b")
    async with running(stream_reader(broker, tmp_path, counting)):
        await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 2)
        assert {answer.entity for answer in answers_in(broker.records(FEATURES))} == {"b"}
        counting.blocked.clear()
        await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 4)
    assert not broker.records(EVENTS + ".dlq")
    assert_counted_once(broker, ["a", "b", "a", "b"])


async def test_a_second_instance_takes_partitions_over_and_nothing_is_lost_or_doubled(
    tmp_path: Path,
) -> None:
    broker = await broker_with(ENTITIES)
    async with running(stream_reader(broker, tmp_path / "one", max_records=2)):
        await eventually(lambda: len(answers_in(broker.records(FEATURES))) > 20)
        async with running(stream_reader(broker, tmp_path / "two", max_records=2)):
            await eventually(
                lambda: (
                    len({answer.event_id for answer in answers_in(broker.records(FEATURES))}) > 90
                )
            )
        await eventually(
            lambda: len({answer.event_id for answer in answers_in(broker.records(FEATURES))}) == 100
        )
    assert_counted_once(broker, ENTITIES)


async def test_ids_are_derived_and_causality_is_told(tmp_path: Path) -> None:
    broker = await broker_with(["a"])
    async with running(stream_reader(broker, tmp_path)):
        await eventually(lambda: answers_in(broker.records(FEATURES)))
    headers = dict(broker.records(FEATURES)[0].headers)
    assert headers["ce_source"] == f"millrace/features/{EVENTS}/{hash_of('a')}".encode()
    assert headers["ce_sequence"] == b"0000000000000000.00000"
    assert headers["ce_causationid"] == b"id-0"
    assert headers["ce_correlationid"] == b"id-0"
    assert headers["ce_recordedtime"] == b"2026-01-01T00:00:00.000000Z"
    assert headers["content-type"] == b"application/protobuf"
    assert "traceparent" not in headers


class LosesItsBroker(MemoryConsumer):
    """In its first life the broker goes away while it asks for beginnings, and answers only when it stops."""

    lives = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        type(self).lives += 1
        self._is_first = type(self).lives == 1
        self._asked, self._stopping = asyncio.Event(), asyncio.Event()

    @override
    async def beginnings(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        if self._is_first:
            self._asked.set()
            await self._stopping.wait()
        return await super().beginnings(partitions)

    @override
    async def poll(
        self, max_records: int, timeout: float
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        if self._is_first:
            await self._asked.wait()
            raise TransientError("the broker is away")
        return await super().poll(max_records, timeout)

    @override
    async def stop(self) -> None:
        self._stopping.set()
        await super().stop()


async def test_partitions_dealt_to_a_session_that_is_over_are_not_kept_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next session took them for its own and did not seek: it read on from the group's offset, past what was left."""
    broker = await broker_with(["a", "b", "c"])
    ahead = {place: len(broker.logs[place]) for place in broker.places(EVENTS)}
    broker._group("millrace-features").offsets.update(ahead)  # told by another instance
    monkeypatch.setattr("millrace_testkit.memory.MemoryConsumer", LosesItsBroker)
    monkeypatch.setattr(LosesItsBroker, "lives", 0)
    async with running(stream_reader(broker, tmp_path)):
        await eventually(lambda: len(answers_in(broker.records(FEATURES))) == 3)
    assert_counted_once(broker, ["a", "b", "c"])
