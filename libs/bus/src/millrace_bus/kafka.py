"""Kafka through aiokafka: the real implementation of the broker port.

aiokafka's transactions are not used: they lack the member fencing of KIP-447 (see docs/decisions/0001). Idempotent
producing and `acks=all` are; the guarantee rests on positions, fences and ids.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import CoordinationType
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
    for_code,
)
from aiokafka.protocol.group import LeaveGroupRequest
from typing_extensions import override

from millrace_bus.broker import (
    Broker,
    Consumer,
    Producer,
    RebalanceListener,
    TopicPartition,
    TopicSpec,
)
from millrace_bus.connections import keep_the_word
from millrace_bus.dead_letters import cut
from millrace_bus.membership import Membership
from millrace_contracts.catalogue import DEAD_LETTERS
from millrace_contracts.message import Outgoing, Record
from millrace_kernel.errors import TransientError

logger = logging.getLogger(__name__)

MAX_BATCH_BYTES = 1 << 20
MAX_REQUEST_BYTES = 16 << 20
FETCH_BYTES = 8 << 20

# what aiokafka raises about a partition that moved to another member, or while all are dealt out anew: whoever gets it
# starts from its own store, so there is nothing to do here
_NOT_OURS = (IllegalStateError, AssertionError)


keep_the_word()


class BrokerAwayError(TransientError):
    """The broker did not do what was asked of it, now."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How to reach a cluster. `security` holds aiokafka's own security arguments (SASL, TLS).

    `members`: a folder of this instance's own, where a killed reader's successor finds out whom it follows; without one
    the partitions of a killed reader wait for its session to time out.
    """

    bootstrap_servers: str = "127.0.0.1:9092"
    client_id: str = "millrace"
    session_timeout_seconds: float = 10.0
    request_timeout_seconds: float = 15.0
    compression: str | None = "lz4"
    replication_factor: int = 1  # of topics that are created; 3 on a cluster
    members: Path | None = None
    security: Mapping[str, Any] = field(default_factory=dict)


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
            raise _away(self._settings, "reach the cluster", error) from error
        return self._client

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self._client.close()
        if isinstance(error, KafkaError | OSError):
            raise _away(self._settings, "administer topics", error) from error


class KafkaConsumer(Consumer):
    def __init__(
        self, settings: KafkaSettings, group: str | None, listener: RebalanceListener | None
    ) -> None:
        self._settings = settings
        self._membership = (
            Membership(settings.members, group) if settings.members and group else None
        )
        self._listener = _Listener(listener, self._joined) if listener else None
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.bootstrap_servers,
            client_id=settings.client_id,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(settings.session_timeout_seconds * 1000),
            heartbeat_interval_ms=int(settings.session_timeout_seconds * 1000 / 4),
            request_timeout_ms=int(settings.request_timeout_seconds * 1000),
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=500,
            metadata_max_age_ms=5_000 if group else 60_000,
            **settings.security,
        )

    @override
    async def start(self) -> None:
        try:
            await self._consumer.start()
        except (KafkaError, OSError) as error:
            await self._consumer.stop()
            raise _away(self._settings, "start reading", error) from error
        await self._follow()

    @override
    async def stop(self) -> None:
        await self._consumer.stop()
        if self._membership:
            self._membership.release()

    async def _follow(self) -> None:
        """Tell the group that the member before us is gone. If that fails, its session times out as it always would."""
        if self._membership is None:
            return
        if not self._membership.hold():
            self._membership = None  # another reader lives here
        elif member := self._membership.predecessor():
            group, client = self._membership.group, self._consumer._client  # noqa: SLF001  aiokafka has no call to leave for another
            try:
                coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
                if await client.ready(coordinator):
                    await client.send(coordinator, LeaveGroupRequest(group, member))
            except (KafkaError, OSError) as error:
                logger.info(
                    "could not say goodbye for the reader before this one",
                    extra={"group": group, "reason": str(error)},
                )

    def _joined(self) -> None:
        if self._membership:
            self._membership.remember(self._consumer._coordinator.member_id)  # noqa: SLF001

    @override
    async def subscribe(self, topics: Collection[str]) -> None:
        self._consumer.subscribe(sorted(topics), listener=self._listener)

    @override
    async def assign(self, topics: Collection[str]) -> list[TopicPartition]:
        partitions = []
        for topic in sorted(topics):
            numbers = await self._partitions_of(topic)
            partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
        self._consumer.assign([KafkaPartition(*partition) for partition in partitions])
        return partitions

    async def _partitions_of(self, topic: str) -> Collection[int]:
        client = self._consumer._client  # noqa: SLF001  the public call answers only for topics already assigned
        try:
            metadata = await client.fetch_all_metadata()
        except (KafkaError, OSError) as error:
            raise _away(self._settings, f"find the partitions of {topic}", error) from error
        numbers = metadata.partitions_for_topic(topic)
        if not numbers:
            raise BrokerAwayError(
                f"topic {topic} does not exist on {self._settings.bootstrap_servers} (yet)"
            )
        return list(numbers)

    @override
    async def poll(
        self, max_records: int, timeout: float
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        try:
            batches = await self._consumer.getmany(
                timeout_ms=int(timeout * 1000), max_records=max_records
            )
        except (KafkaError, OSError) as error:
            raise _away(self._settings, "read", error) from error
        return {TopicPartition(*partition): records for partition, records in batches.items()}

    @override
    def seek(self, partition: TopicPartition, offset: int) -> None:
        with suppress(*_NOT_OURS):
            self._consumer.seek(KafkaPartition(*partition), offset)

    @override
    def pause(self, partition: TopicPartition) -> None:
        with suppress(*_NOT_OURS):
            self._consumer.pause(KafkaPartition(*partition))

    @override
    def resume(self, partition: TopicPartition) -> None:
        with suppress(*_NOT_OURS):
            self._consumer.resume(KafkaPartition(*partition))

    @override
    async def beginnings(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        return await self._offsets(self._consumer.beginning_offsets, partitions)

    @override
    async def ends(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return await self._offsets(self._consumer.end_offsets, partitions)

    async def _offsets(
        self, ask: Any, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        if not partitions:
            return {}
        try:
            offsets = await ask([KafkaPartition(*partition) for partition in partitions])
        except (KafkaError, OSError) as error:
            raise _away(self._settings, "ask for offsets", error) from error
        return {TopicPartition(*partition): offset for partition, offset in offsets.items()}

    @override
    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        try:
            await self._consumer.commit(
                {KafkaPartition(*partition): offset for partition, offset in offsets.items()}
            )
        except (CommitFailedError, IllegalStateError):
            return  # the group moved on; these offsets only serve lag tools, the next owner starts from its own store
        except (KafkaError, OSError) as error:
            raise _away(self._settings, "commit the group's offsets", error) from error


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    def __init__(self, listener: RebalanceListener, joined: Callable[[], None]) -> None:
        self._listener = listener
        self._joined = joined

    async def on_partitions_revoked(self, revoked: Collection[KafkaPartition]) -> None:
        await self._listener.revoked([TopicPartition(*partition) for partition in revoked])

    async def on_partitions_assigned(self, assigned: Collection[KafkaPartition]) -> None:
        self._joined()
        await self._listener.assigned([TopicPartition(*partition) for partition in assigned])


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
            raise _away(self._settings, "start writing", error) from error

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
                raise _away(self._settings, f"write to {topic}", error) from error
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
                end = start
                for message in messages[start:]:
                    appended = batch.append(
                        key=message.key,
                        value=message.value,
                        timestamp=message.timestamp,
                        headers=message.headers,
                    )
                    if appended is None:
                        break
                    end += 1
                if end == start:  # larger than a batch may be: goes alone
                    end += 1
                    await self._send_each(topic, partition, messages[start:end])
                else:
                    batch.close()
                    await self._send_batch(topic, partition, batch, messages[start:end])
                start = end
        except (TimeoutError, KafkaError, OSError) as error:
            raise _away(self._settings, f"append to {topic}/{partition}", error) from error

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


def _away(settings: KafkaSettings, errand: str, error: BaseException) -> BrokerAwayError:
    detail = str(error) or type(error).__name__
    return BrokerAwayError(f"cannot {errand} at {settings.bootstrap_servers}: {detail}")
