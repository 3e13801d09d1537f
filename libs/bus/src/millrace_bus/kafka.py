"""Kafka through aiokafka: the real implementation of the broker port.

aiokafka's transactions are not used: they lack the member fencing of KIP-447 (see docs/decisions/0001). Idempotent
producing and `acks=all` are; the guarantee rests on positions, fences and ids.
"""

from collections.abc import Collection
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from typing_extensions import override

from millrace_bus.broker import Broker, Consumer, Producer, RebalanceListener, TopicSpec
from millrace_bus.client_speed import make_quick
from millrace_bus.connections import keep_the_word
from millrace_bus.kafka_consumer import KafkaConsumer
from millrace_bus.kafka_producer import KafkaProducer
from millrace_bus.kafka_settings import (
    FETCH_BYTES,
    MAX_BATCH_BYTES,
    MAX_REQUEST_BYTES,
    BrokerAwayError,
    KafkaSettings,
    away,
)

__all__ = [
    "FETCH_BYTES",
    "MAX_BATCH_BYTES",
    "MAX_REQUEST_BYTES",
    "BrokerAwayError",
    "KafkaBroker",
    "KafkaConsumer",
    "KafkaProducer",
    "KafkaSettings",
]

keep_the_word()
make_quick()


class KafkaBroker(Broker):
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    @override
    def consumer(
        self, group: str | None = None, listener: RebalanceListener | None = None
    ) -> Consumer:
        return KafkaConsumer(self._settings, group, listener)

    @override
    def producer(self) -> Producer:
        return KafkaProducer(self._settings)

    @override
    async def create_topics(self, topics: Collection[TopicSpec]) -> None:
        async with _Admin(self._settings) as admin:
            missing = {topic.name: topic for topic in topics}
            for name in await admin.list_topics():
                missing.pop(name, None)
            if not missing:
                return
            new = [
                NewTopic(
                    topic.name,
                    topic.partitions,
                    self._settings.replication_factor,
                    topic_configs=dict(topic.config),
                )
                for topic in missing.values()
            ]
            response = await admin.create_topics(new)
            for topic, code, *detail in response.topic_errors:
                if code not in (
                    0,
                    TopicAlreadyExistsError.errno,
                ):  # another service may have been faster
                    raise BrokerAwayError(
                        f"cannot create topic {topic}: {for_code(code).__name__} {detail[0] if detail else ''}"
                    )

    @override
    async def topics(self) -> frozenset[str]:
        async with _Admin(self._settings) as admin:
            return frozenset(await admin.list_topics())


class _Admin:
    """An admin client for one errand, its errors told in Millrace's words."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client = AIOKafkaAdminClient(
            bootstrap_servers=settings.bootstrap_servers,
            client_id=settings.client_id,
            **settings.security,
        )

    async def __aenter__(self) -> Any:
        try:
            await self._client.start()
        except (KafkaError, OSError) as error:
            await self._client.close()
            raise away(self._settings, "reach the cluster", error) from error
        return self._client

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self._client.close()
        if isinstance(error, KafkaError | OSError):
            raise away(self._settings, "administer topics", error) from error
