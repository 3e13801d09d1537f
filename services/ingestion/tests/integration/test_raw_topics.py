"""What HTTP appends is acknowledged, or said not to be in bounded time and space."""

import asyncio
from contextlib import suppress

import pytest

from millrace_bus.broker import TopicPartition, TopicSpec
from millrace_bus.retry import Backoff
from millrace_ingestion.adapters.raw_topics import (
    BrokerRawTopics,
    NotAcknowledgedError,
    Patience,
)
from millrace_ingestion.application.ports import RawRow
from millrace_kernel.errors import TransientError
from millrace_testkit.eventually import running
from millrace_testkit.memory import MemoryBroker

ROW = RawRow("s7", b"x" * 100, {})


class Broker(MemoryBroker):
    """Counts its producers; unless `answering`, none of them gets an answer."""

    def __init__(self):
        super().__init__()
        self.producers = 0
        self.answering = asyncio.Event()
        self.answering.set()

    def producer(self):
        self.producers += 1
        made = super().producer()
        send = made.send

        async def slowly(topic, partition, messages):
            await self.answering.wait()
            await send(topic, partition, messages)

        made.send = slowly
        return made


@pytest.fixture
async def broker():
    broker = Broker()
    await broker.create_topics([TopicSpec("raw", 4)])
    return broker


def topics_on(broker, seconds=5.0, waiting_bytes=1_000):
    return BrokerRawTopics(
        broker, Patience(seconds, waiting_bytes), lambda: 0.5, Backoff(0.001, 0.01)
    )


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


async def test_only_so_much_may_wait_and_what_waited_is_appended_in_the_end(broker):
    topics = topics_on(broker, waiting_bytes=250)
    async with running(topics):
        broker.answering.clear()
        waiting = [asyncio.ensure_future(topics.append("raw", [ROW])) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(NotAcknowledgedError, match="too much waits"):
            await topics.append("raw", [ROW])
        broker.answering.set()
        await asyncio.gather(*waiting)
        await topics.append("raw", [ROW, ROW, ROW])  # alone it may be larger

    assert len(broker.records("raw")) == 5


async def test_a_late_acknowledgement_is_told_as_such_and_nothing_is_cancelled(broker):
    topics = topics_on(broker, seconds=0.02)
    async with running(topics):
        broker.answering.clear()
        with suppress(NotAcknowledgedError):
            await topics.append("raw", [ROW])
        broker.answering.set()
        await asyncio.sleep(0.01)

    assert len(broker.records("raw")) == 1
