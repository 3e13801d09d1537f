"""The Kafka side: raw topics in, events and labels out; which topics, the pipelines in force say."""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from millrace_bus.broker import Broker
from millrace_bus.follower import Fold, Reaction
from millrace_bus.stream import Batch, Process
from millrace_bus.topology import user_topics
from millrace_contracts.message import Message
from millrace_ingestion.application.handlers import on_submission
from millrace_ingestion.application.pipelines import PipelinesInForce
from millrace_ingestion.bootstrap import Parts
from millrace_ingestion.domain.problems import UnreadableError
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import PipelineName
from millrace_service.process import Component


class NobodyReadsError(TransientError):
    """The pipeline of this topic has gone, or is on its way; what is in the topic waits."""


def components(parts: Parts) -> list[Component]:
    """What works in one process: the reader of raw topics, the follower that tells it which, the writer for HTTP, and
    the watch that tells HTTP when the reader is too far behind."""
    worker = parts.worker(process_raw(parts))
    created_with = parts.settings.raw_partitions if parts.settings.kafka_create_topics else None
    subscription = Subscription(parts.pipelines, parts.broker, worker, created_with)
    follower = parts.follower(fold_into(parts.pipelines), subscription.renew)
    watch = parts.watch(lambda: worker.positions)
    return [follower, worker, parts.raw_topics, watch]


def process_raw(parts: Parts) -> Process:
    """Each message of a batch to every pipeline that reads its topic. Dead letters are for what one could not take."""

    def process(batch: Batch) -> None:
        topic = batch.messages[0].topic
        routes = parts.pipelines.routes(topic)
        if not routes:
            raise NobodyReadsError(f"no pipeline in force reads {topic}")
        ledger = parts.ledger(batch.state)
        for message in batch.messages:
            try:
                submission = parts.read_message(message)
            except UnreadableError as error:
                batch.reject(message, error)
                continue
            outcome = on_submission(submission, routes, ledger)
            for output in outcome.outputs:
                batch.emit(message, output)
            if outcome.refused is not None:
                batch.reject(message, outcome.refused)

    return process


def fold_into(pipelines: PipelinesInForce) -> Fold:
    """Pipelines as they are applied; a tombstone ends one."""

    def fold(message: Message) -> None:
        if message.is_tombstone:
            pipelines.remove(PipelineName((message.key or b"").decode("utf-8", "replace")))
        else:
            pipelines.apply(message.event)

    return fold


class Subscriber(Protocol):
    async def subscribe(self, topics: Collection[str]) -> None: ...


class Subscription:
    """Keeps the worker on the topics that the pipelines name; makes those that nobody has made."""

    def __init__(
        self,
        pipelines: PipelinesInForce,
        broker: Broker,
        worker: Subscriber,
        created_with: int | None,
    ) -> None:
        self._pipelines = pipelines
        self._broker = broker
        self._worker = worker
        self._created_with = created_with  # partitions; None: topics are made elsewhere
        self._topics: frozenset[str] = frozenset()

    async def renew(self, messages: Sequence[Message]) -> Iterable[Reaction]:  # noqa: ARG002  the view says it all
        topics = frozenset(self._pipelines.topics)
        if topics != self._topics:
            if self._created_with is not None:
                await self._broker.create_topics(user_topics(topics, self._created_with))
            await self._worker.subscribe(topics)
            self._topics = topics
        return ()
