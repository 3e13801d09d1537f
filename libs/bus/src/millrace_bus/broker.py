"""The broker as the bus needs it: a port with two implementations, `millrace_bus.kafka` and `millrace_testkit.memory`,
which pass one suite of tests (`millrace_testkit.broker_suite`)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from millrace_contracts.message import Outgoing, Record


class TopicPartition(NamedTuple):
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to be created. `config` holds Kafka's own names, e.g. `retention.ms`."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


class RebalanceListener(Protocol):
    """Told of partitions that come and go; reading goes on when it has returned."""

    async def revoked(self, partitions: Collection[TopicPartition]) -> None: ...
    async def assigned(self, partitions: Collection[TopicPartition]) -> None: ...


class Consumer(Protocol):
    """Reads records in the order of each partition. Every call may raise TransientError when the broker is away."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def subscribe(self, topics: Collection[str]) -> None:
        """Take a share of these topics' partitions as a member of the group; replaces what was subscribed."""

    async def assign(self, topics: Collection[str]) -> list[TopicPartition]:
        """Take every partition of these topics, without a group."""

    async def poll(
        self, max_records: int, timeout: float
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        """What has come, at most `max_records` in all; waits up to `timeout` seconds for the first."""

    def seek(self, partition: TopicPartition, offset: int) -> None: ...
    def pause(self, partition: TopicPartition) -> None: ...
    def resume(self, partition: TopicPartition) -> None: ...
    async def beginnings(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]: ...
    async def ends(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]: ...
    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tell the group how far it is: for lag tools and autoscalers. Never read by Millrace."""


class Producer(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises TransientError when it does not exist (yet)."""

    async def send(self, topic: str, partition: int, messages: Sequence[Outgoing]) -> None:
        """Append in order; returns when all are acknowledged by all in-sync replicas. Raises TransientError.

        After a failure any prefix may have been appended, so the caller sends the same again before anything newer.
        """


class Broker(Protocol):
    def consumer(
        self, group: str | None = None, listener: RebalanceListener | None = None
    ) -> Consumer: ...
    def producer(self) -> Producer: ...
    async def create_topics(self, topics: Collection[TopicSpec]) -> None:
        """Create those that do not exist; those that do stay as they are."""

    async def topics(self) -> frozenset[str]: ...
