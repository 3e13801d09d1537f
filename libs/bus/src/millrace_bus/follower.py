"""A topic read from its beginning into memory, in every instance: how pipelines and champions reach the stream services.

History is folded first; then the service reacts to what it amounts to, and to each later batch. Outputs name the
instance in their source and the followed position in their sequence, so that a restart repeats nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from millrace_bus.broker import Broker, Consumer, Producer, TopicPartition
from millrace_bus.fence import REPLAY_FOR
from millrace_bus.outputs import Outputs, by_partition
from millrace_bus.retry import Backoff
from millrace_bus.session import stop_if_cancelled
from millrace_contracts.cloudevents import sequence
from millrace_contracts.message import Message, Outgoing, Record
from millrace_contracts.wire import WireError, WireTable
from millrace_kernel.errors import TransientError
from millrace_telemetry.tracing import NO_TRACING, Tracing, finish, write_traceparent

logger = logging.getLogger(__name__)

MAX_RECORDS = 5_000
POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Reaction:
    """An event to be sent on account of a followed message."""

    message: Message
    event: object


Fold = Callable[[Message], None]
React = Callable[[Sequence[Message]], Awaitable[Iterable[Reaction]]]


async def no_reaction(messages: Sequence[Message]) -> Iterable[Reaction]:  # noqa: ARG001  the view is all there is
    return ()


class Follower:
    """`fold` each message into a view; `react` once history is folded, then after every batch.

    `fold` must not raise: what it cannot use it ignores. A message whose bytes are broken is logged and skipped, since
    a single writer of the same version made it and every instance meets it.
    """

    def __init__(
        self,
        name: str,
        topics: Collection[str],
        *,
        wire: WireTable,
        fold: Fold,
        broker: Broker,
        chance: Callable[[], float],
        react: React = no_reaction,
        backoff: Backoff | None = None,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._topics = tuple(topics)
        self._wire = wire
        self._fold = fold
        self._react = react
        self._broker = broker
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._tracing = tracing

    async def run(self) -> None:
        """Follow until cancelled. After a passing failure the topic is read from its beginning again."""
        attempt = 0
        while True:
            try:
                await self._session()
            except TransientError as error:
                stop_if_cancelled()
                attempt += 1
                delay = self._backoff.delay(attempt, self._chance)
                logger.warning(
                    "cannot follow; trying again",
                    extra={
                        "topics": self._topics,
                        "seconds": round(delay, 2),
                        "reason": str(error),
                    },
                )
                await asyncio.sleep(delay)

    async def _session(self) -> None:
        producer = self._broker.producer()
        await producer.start()
        consumer = self._broker.consumer()
        try:
            await consumer.start()
            partitions = await consumer.assign(self._topics)
            await self._follow(consumer, producer, partitions)
        finally:
            await consumer.stop()
            await producer.stop()

    async def _follow(
        self, consumer: Consumer, producer: Producer, partitions: Sequence[TopicPartition]
    ) -> None:
        positions = dict(await consumer.beginnings(partitions))
        ends = await consumer.ends(partitions)
        for place, position in positions.items():
            consumer.seek(place, position)
        history: list[Message] = []
        caught_up = False
        while True:
            if not caught_up and all(positions[place] >= ends[place] for place in partitions):
                caught_up = True
                await self._send(producer, await self._react(history))
                history.clear()
                self.ready.set()
            batches = await consumer.poll(MAX_RECORDS, POLL_SECONDS)
            messages = self._folded(batches, positions)
            if not caught_up:
                history += messages
            elif messages:
                await self._answer(producer, messages)

    async def _answer(self, producer: Producer, messages: Sequence[Message]) -> None:
        """React to what is new, each sampled message inside a span of its own."""
        spans = []
        for message in messages:
            if span := self._tracing.process(message):
                message.traceparent = write_traceparent(span.get_span_context())
                spans.append(span)
        await self._send(producer, await self._react(messages))
        for span in spans:
            finish(span)

    def _folded(
        self,
        batches: Mapping[TopicPartition, Sequence[Record]],
        positions: dict[TopicPartition, int],
    ) -> list[Message]:
        messages = []
        for place, records in batches.items():
            for record in records:
                message = Message(record)
                if REPLAY_FOR in message.headers:
                    continue  # for a reader that rejected it; followers reject nothing
                try:
                    if message.is_tombstone or self._wire.decode(message):
                        self._fold(message)
                        messages.append(message)
                except WireError:
                    logger.exception("a followed message does not decode; skipped")
            positions[place] = records[-1].offset + 1
        return messages

    async def _send(self, producer: Producer, reactions: Iterable[Reaction]) -> None:
        indexes: dict[tuple[str, int, int], int] = {}
        outgoing: list[Outgoing] = []
        for reaction in reactions:
            message = reaction.message
            place = (message.topic, message.partition, message.offset)
            index = indexes[place] = indexes.get(place, -1) + 1
            outputs = Outputs(
                f"millrace/{self.name}/{message.topic}/{message.partition}",
                self._wire,
                self._tracing,
            )
            outgoing.append(
                outputs.record(reaction.event, message, sequence(message.offset, index), index)
            )
        for place_to, part in (await by_partition(producer, outgoing)).items():
            await producer.send(place_to.topic, place_to.partition, part)
