"""What both brokers must do. A test module inherits `BrokerSuite` and gives a `broker` fixture."""

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence

from typing_extensions import override

from millrace_bus.broker import Broker, Consumer, RebalanceListener, TopicPartition, TopicSpec
from millrace_contracts.message import Outgoing, Record
from millrace_testkit.eventually import eventually


def fresh_name(prefix: str) -> str:
    """A topic or group that no other test uses."""
    return f"{prefix}-{secrets.token_hex(6)}"


def said(text: str, *, key: bytes = b"k") -> Outgoing:
    return Outgoing("", key, text.encode(), [("ce_id", text.encode())], 1_000)


class Remembers(RebalanceListener):
    """Seeks every partition to where a store would say."""

    def __init__(self, start: int = 0) -> None:
        self.consumer: Consumer | None = None
        self.owned: set[TopicPartition] = set()
        self.lost: list[TopicPartition] = []
        self._start = start

    @override
    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.owned -= set(partitions)
        self.lost += partitions

    @override
    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        assert self.consumer is not None
        self.owned |= set(partitions)
        for place in partitions:
            self.consumer.seek(place, self._start)


async def read(consumer: Consumer, count: int) -> list[Record]:
    """Poll until so many records have come."""
    records: list[Record] = []
    async with asyncio.timeout(20):
        while len(records) < count:
            for batch in (await consumer.poll(100, 0.2)).values():
                records += batch
    return records


class BrokerSuite:
    """The broker port's contract."""

    async def topic(self, broker: Broker, partitions: int = 1) -> str:
        name = fresh_name("suite")
        await broker.create_topics([TopicSpec(name, partitions)])
        return name

    async def test_records_come_back_in_order_with_key_value_headers_and_time(
        self, broker: Broker
    ) -> None:
        topic = await self.topic(broker)
        await self.write(broker, topic, [said(str(number)) for number in range(100)])
        consumer = broker.consumer()
        await consumer.start()
        try:
            await consumer.assign([topic])
            records = await read(consumer, 100)
        finally:
            await consumer.stop()
        assert [record.value for record in records] == [
            str(number).encode() for number in range(100)
        ]
        assert [record.offset for record in records] == list(range(100))
        assert records[7].key == b"k"
        assert dict(records[7].headers) == {"ce_id": b"7"}
        assert records[7].timestamp == 1_000

    async def test_a_seek_reads_again_from_there(self, broker: Broker) -> None:
        topic = await self.topic(broker)
        await self.write(broker, topic, [said(str(number)) for number in range(10)])
        consumer = broker.consumer()
        await consumer.start()
        try:
            (place,) = await consumer.assign([topic])
            await read(consumer, 10)
            consumer.seek(place, 6)
            assert [record.offset for record in await read(consumer, 4)] == [6, 7, 8, 9]
            assert (await consumer.ends([place]))[place] == 10
            assert (await consumer.beginnings([place]))[place] == 0
        finally:
            await consumer.stop()

    async def test_a_paused_partition_waits_and_the_others_go_on(self, broker: Broker) -> None:
        topic = await self.topic(broker, partitions=2)
        consumer = broker.consumer()
        await consumer.start()
        try:
            held, free = await consumer.assign([topic])
            consumer.pause(held)
            await self.write(broker, topic, [said("held")], partition=held.partition)
            await self.write(broker, topic, [said("free")], partition=free.partition)
            assert [record.value for record in await read(consumer, 1)] == [b"free"]
            consumer.resume(held)
            assert [record.value for record in await read(consumer, 1)] == [b"held"]
        finally:
            await consumer.stop()

    async def test_a_group_shares_the_partitions_and_the_survivor_takes_over(
        self, broker: Broker
    ) -> None:
        topic, group = await self.topic(broker, partitions=4), fresh_name("group")
        first, second = await self.member(broker, group, topic), None
        try:
            await self.polled_until(first, lambda: len(first[1].owned) == 4)
            second = await self.member(broker, group, topic)
            polling = asyncio.ensure_future(self.keep_polling(second[0]))
            try:
                await self.polled_until(
                    first, lambda: len(first[1].owned) == 2 and len(second[1].owned) == 2
                )
                assert not first[1].owned & second[1].owned
            finally:
                polling.cancel()
            await second[0].stop()
            second = None
            await self.polled_until(first, lambda: len(first[1].owned) == 4)
        finally:
            await first[0].stop()
            if second is not None:
                await second[0].stop()

    async def test_a_member_starts_where_its_own_store_says_not_where_the_group_does(
        self, broker: Broker
    ) -> None:
        topic, group = await self.topic(broker), fresh_name("group")
        await self.write(broker, topic, [said(str(number)) for number in range(10)])
        consumer, _ = await self.member(broker, group, topic)
        await read(consumer, 10)
        await consumer.commit({TopicPartition(topic, 0): 10})
        await consumer.stop()
        consumer, _ = await self.member(broker, group, topic, start=4)
        try:
            offsets = [record.offset for record in await read(consumer, 6)]
        finally:
            await consumer.stop()
        assert offsets[-6:] == [4, 5, 6, 7, 8, 9]

    async def test_creating_a_topic_twice_changes_nothing(self, broker: Broker) -> None:
        topic = await self.topic(broker, partitions=3)
        await broker.create_topics([TopicSpec(topic, 1)])
        producer = broker.producer()
        await producer.start()
        try:
            assert await producer.partitions(topic) == 3
        finally:
            await producer.stop()
        assert topic in await broker.topics()

    async def write(
        self, broker: Broker, topic: str, messages: Sequence[Outgoing], *, partition: int = 0
    ) -> None:
        producer = broker.producer()
        await producer.start()
        try:
            await producer.send(topic, partition, messages)
        finally:
            await producer.stop()

    async def member(
        self, broker: Broker, group: str, topic: str, *, start: int = 0
    ) -> tuple[Consumer, Remembers]:
        listener = Remembers(start)
        consumer = listener.consumer = broker.consumer(group, listener)
        await consumer.start()
        await consumer.subscribe([topic])
        return consumer, listener

    async def polled_until(self, member: tuple[Consumer, Remembers], fact: object) -> None:
        async def polled() -> bool:
            await member[0].poll(100, 0.05)
            return bool(fact())  # type: ignore[operator]  # a plain callable

        await eventually(polled, within=30)

    async def keep_polling(self, consumer: Consumer) -> Mapping[TopicPartition, Sequence[Record]]:
        while True:
            await consumer.poll(100, 0.05)
