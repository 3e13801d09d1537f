"""What HTTP appends is acknowledged, or said not to be in bounded time and space."""

import asyncio

import pytest

from millrace_bus.broker import TopicPartition, TopicSpec
from millrace_bus.retry import Backoff
from millrace_ingestion.adapters.raw_topics import BrokerRawTopics
from millrace_ingestion.application.ports import ROW_BYTES, NotAcknowledgedError, RawRow
from millrace_kernel.errors import TransientError
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker

ROW = RawRow("s7", b"x" * 100, {})


class Broker(MemoryBroker):
    """Counts its producers; unless `answering`, none of them gets an answer (of `slow_partition`, if that is set)."""

    def __init__(self):
        super().__init__()
        self.producers = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.slow_partition = None

    def producer(self):
        self.producers += 1
        made = super().producer()
        send = made.send

        async def slowly(topic, partition, messages):
            if self.slow_partition in (None, partition):
                await self.answering.wait()
            await send(topic, partition, messages)

        made.send = slowly
        return made


@pytest.fixture
async def broker():
    broker = Broker()
    await broker.create_topics([TopicSpec("raw", 4)])
    return broker


def topics_on(broker, seconds=5.0):
    return BrokerRawTopics(broker, seconds, lambda: 0.5, Backoff(0.001, 0.01))


async def test_rows_of_one_key_stay_in_order_in_one_partition(broker):
    topics = topics_on(broker)
    async with running(topics):
        await topics.append("raw", [RawRow(f"s{n % 3}", str(n).encode(), {}) for n in range(30)])

    for number in range(4):
        values = [int(record.value) for record in broker.logs[TopicPartition("raw", number)]]
        assert values == sorted(values)
    assert len(broker.records("raw")) == 30


async def test_a_producer_that_failed_is_replaced(broker):
    def away(errand, place):
        raise TransientError("the broker is away")

    topics = topics_on(broker)
    async with running(topics):
        broker.fault = away
        with pytest.raises(TransientError, match="away"):
            await topics.append("raw", [ROW])
        broker.fault = lambda errand, place: None
        await topics.append("raw", [ROW])

    assert broker.producers == 2
    assert len(broker.records("raw")) == 1


async def test_a_topic_that_is_not_there_is_no_failure_of_the_producer(broker):
    topics = topics_on(broker)
    async with running(topics):
        with pytest.raises(TransientError, match="does not exist"):
            await topics.append("nowhere", [ROW])
        await topics.append("raw", [ROW])

    assert broker.producers == 1


async def test_without_a_producer_the_wait_is_bounded(broker):
    topics = topics_on(broker, seconds=0.02)

    with pytest.raises(NotAcknowledgedError, match=r"within 0\.02 s"):
        await topics.append("raw", [ROW])


async def test_what_goes_on_late_is_counted_until_it_is_there_and_nothing_is_cancelled(broker):
    topics = topics_on(broker, seconds=0.02)
    async with running(topics):
        broker.answering.clear()
        with pytest.raises(NotAcknowledgedError, match=r"within 0\.02 s") as late:
            await topics.append("raw", [ROW, ROW])
        held_meanwhile = topics.late_bytes
        broker.answering.set()
        await eventually(lambda: not topics.late_bytes)

    assert late.value.acknowledged == ()
    assert held_meanwhile == 2 * (100 + ROW_BYTES)
    assert len(broker.records("raw")) == 2


async def test_rows_are_late_too_when_who_waited_for_them_has_gone(broker):
    topics = topics_on(broker)
    async with running(topics):
        broker.answering.clear()
        waiting = asyncio.ensure_future(topics.append("raw", [ROW]))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        held_meanwhile = topics.late_bytes
        broker.answering.set()
        await eventually(lambda: not topics.late_bytes)

    assert held_meanwhile == 100 + ROW_BYTES
    assert len(broker.records("raw")) == 1


async def test_when_some_partitions_have_it_and_others_not_it_says_which_rows_are_there(broker):
    def half_away(errand, place):
        if place.partition % 2:
            raise TransientError("the broker is half away")

    rows = [RawRow(f"s{number}", str(number).encode(), {}) for number in range(40)]
    topics = topics_on(broker)
    async with running(topics):
        broker.fault = half_away
        with pytest.raises(NotAcknowledgedError, match="half away") as refused:
            await topics.append("raw", rows)
        there = sorted(int(record.value) for record in broker.records("raw"))

        broker.fault = lambda errand, place: None
        await topics.append("raw", [row for index, row in enumerate(rows) if index not in there])

    assert 0 < len(there) < len(rows)
    assert list(refused.value.acknowledged) == there
    assert sorted(int(record.value) for record in broker.records("raw")) == list(range(40))


async def test_of_rows_that_are_late_it_says_which_are_there_already(broker):
    rows = [RawRow(f"s{number}", str(number).encode(), {}) for number in range(40)]
    await broker.create_topics([TopicSpec("slow", 4)])
    broker.slow_partition = 2
    topics = topics_on(broker, seconds=0.5)
    async with running(topics):
        broker.answering.clear()
        with pytest.raises(NotAcknowledgedError) as late:
            await topics.append("slow", rows)
        there = sorted(int(record.value) for record in broker.records("slow"))
        broker.answering.set()
        await eventually(lambda: not topics.late_bytes)

    assert 0 < len(there) < len(rows)
    assert list(late.value.acknowledged) == there
    assert len(broker.records("slow")) == len(rows)
