"""Writing to Kafka: the producer port on aiokafka."""

from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from typing_extensions import override

from millrace_bus.broker import Producer
from millrace_bus.dead_letters import cut
from millrace_bus.kafka_settings import (
    MAX_BATCH_BYTES,
    MAX_REQUEST_BYTES,
    BrokerAwayError,
    KafkaSettings,
    away,
)
from millrace_contracts.catalogue import DEAD_LETTERS
from millrace_contracts.message import Outgoing


class KafkaProducer(Producer):
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.bootstrap_servers,
            client_id=settings.client_id,
            acks="all",
            enable_idempotence=True,
            compression_type=settings.compression,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            request_timeout_ms=int(settings.request_timeout_seconds * 1000),
            linger_ms=0,
            **settings.security,
        )
        self._partitions: dict[str, int] = {}

    @override
    async def start(self) -> None:
        try:
            await self._producer.start()
        except (KafkaError, OSError) as error:
            await self._producer.stop()
            raise away(self._settings, "start writing", error) from error

    @override
    async def stop(self) -> None:
        await self._producer.stop()

    @override
    async def partitions(self, topic: str) -> int:
        known = self._partitions.get(topic)
        if known is None:
            try:
                known = len(await self._producer.partitions_for(topic))
            except (KafkaError, OSError) as error:
                raise away(self._settings, f"write to {topic}", error) from error
            if not known:
                raise BrokerAwayError(
                    f"topic {topic} does not exist on {self._settings.bootstrap_servers} (yet)"
                )
            self._partitions[topic] = known
        return known

    @override
    async def send(self, topic: str, partition: int, messages: Sequence[Outgoing]) -> None:
        try:
            start = 0
            while start < len(messages):
                batch = self._producer.create_batch()
                end = start + fill(batch, messages, start)
                if end == start:  # larger than a batch may be: goes alone
                    end += 1
                    await self._send_each(topic, partition, messages[start:end])
                else:
                    batch.close()
                    await self._send_batch(topic, partition, batch, messages[start:end])
                start = end
        except (TimeoutError, KafkaError, OSError) as error:
            raise away(self._settings, f"append to {topic}/{partition}", error) from error

    async def _send_batch(
        self, topic: str, partition: int, batch: Any, messages: Sequence[Outgoing]
    ) -> None:
        try:
            await (await self._producer.send_batch(batch, topic, partition=partition))
        except MessageSizeTooLargeError:
            if not topic.endswith(DEAD_LETTERS):
                raise
            await self._send_each(topic, partition, messages)

    async def _send_each(self, topic: str, partition: int, messages: Sequence[Outgoing]) -> None:
        for message in messages:
            try:
                await self._append(topic, partition, message)
            except MessageSizeTooLargeError:
                if not topic.endswith(DEAD_LETTERS):
                    raise
                # what can't be said in full must not hold up its partition for ever
                await self._append(topic, partition, cut(message))

    async def _append(self, topic: str, partition: int, message: Outgoing) -> None:
        await self._producer.send_and_wait(
            topic, value=message.value, key=message.key, partition=partition,
            timestamp_ms=message.timestamp, headers=message.headers,
        )  # fmt: skip


def fill(batch: Any, messages: Sequence[Outgoing], start: int) -> int:
    """Put messages into an aiokafka batch, from `start` on; how many there was room for.

    As `batch.append` does for each, but without its detour by serializers and by a future's metadata.
    """
    append = batch._builder.append  # noqa: SLF001
    number = 0
    for message in messages[start:] if start else messages:
        timestamp = message.timestamp
        if append(number, timestamp, message.key, message.value, message.headers) is None:
            break
        number += 1
    batch._relative_offset = number  # noqa: SLF001
    return number
