"""Reading from Kafka: the consumer port on aiokafka."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.protocol.group import LeaveGroupRequest
from typing_extensions import override

from millrace_bus.broker import Consumer, RebalanceListener, TopicPartition
from millrace_bus.kafka_settings import FETCH_BYTES, BrokerAwayError, KafkaSettings, away
from millrace_bus.membership import Membership
from millrace_contracts.message import Record

logger = logging.getLogger(__name__)

# what aiokafka raises about a partition that moved to another member, or while all are dealt out anew: whoever gets it
# starts from its own store, so there is nothing to do here
_NOT_OURS = (IllegalStateError, AssertionError)


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
            raise away(self._settings, "start reading", error) from error
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
            raise away(self._settings, f"find the partitions of {topic}", error) from error
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
            raise away(self._settings, "read", error) from error
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
            raise away(self._settings, "ask for offsets", error) from error
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
            raise away(self._settings, "commit the group's offsets", error) from error


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    def __init__(self, listener: RebalanceListener, joined: Callable[[], None]) -> None:
        self._listener = listener
        self._joined = joined

    async def on_partitions_revoked(self, revoked: Collection[KafkaPartition]) -> None:
        await self._listener.revoked([TopicPartition(*partition) for partition in revoked])

    async def on_partitions_assigned(self, assigned: Collection[KafkaPartition]) -> None:
        self._joined()
        await self._listener.assigned([TopicPartition(*partition) for partition in assigned])
