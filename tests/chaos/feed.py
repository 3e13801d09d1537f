"""Feeding the stream: most of it as a producer of the raw topic, a tenth over HTTP; neither gives up.

Both send in order, and send the same again after a failure before anything newer: what arrives twice is dropped by
ingestion, by event id. `gate` is how far they may go: a fault that is due at an event is played exactly there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

import httpx2
import orjson
from tests.chaos.history import LABEL_TYPE, NAME, TOPIC, History, Raw
from tests.chaos.world import World

from millrace_bus.broker import Producer
from millrace_bus.outputs import by_partition
from millrace_contracts.message import Outgoing
from millrace_kernel.errors import TransientError

_AGAIN_SECONDS = 0.2
_LOOK_SECONDS = 0.01
_HTTP_ROWS = 50


class Feed:
    """`run` until everything is acknowledged."""

    def __init__(self, world: World, history: History, scored: Callable[[], int]) -> None:
        self._world = world
        self._scored = scored
        self._chunk = max(20, min(1_000, history.events // 100))
        self._lead = max(10 * self._chunk, history.events // 10)
        self._parts = {
            way: [raw for raw in history.messages if raw.is_for_http is (way == "http")]
            for way in ("topic", "http")
        }
        self._sent = {"topic": 0, "http": 0}  # events acknowledged, by way
        self._total = history.events
        self._acknowledged = asyncio.Event()
        self.gate = 0
        self.refused = 0  # HTTP requests that were not answered 202 at first
        self.resent = 0  # chunks that the broker did not acknowledge at first
        self.accepted_by_http: set[int] = set()  # event numbers that were answered 202

    @property
    def fed(self) -> int:
        """Events acknowledged so far."""
        return sum(self._sent.values())

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._over_topic(self._parts["topic"]))
            tasks.create_task(self._over_http(self._parts["http"]))

    async def until(self, events: int) -> None:
        """Let the stream go on to this many events, and wait until they are acknowledged."""
        self.gate = max(self.gate, events)
        while self.fed < min(events, self._total):
            self._acknowledged.clear()
            await self._acknowledged.wait()

    async def _chunks(self, messages: Sequence[Raw], size: int) -> AsyncIterator[Sequence[Raw]]:
        """What may leave next: not past the gate, and not too far ahead of what is scored."""
        start = 0
        while start < len(messages):
            chunk: list[Raw] = []
            if self.fed - self._scored() <= self._lead:
                for raw in messages[start : start + size]:
                    if not raw.is_label and raw.number >= self.gate:
                        break
                    chunk.append(raw)
            if chunk:
                start += len(chunk)
                yield chunk
            else:
                await asyncio.sleep(_LOOK_SECONDS)

    async def _over_topic(self, messages: Sequence[Raw]) -> None:
        producer: Producer | None = None
        try:
            async for chunk in self._chunks(messages, self._chunk):
                outgoing = [
                    Outgoing(TOPIC, raw.entity.encode(), raw.body, _headers(raw)) for raw in chunk
                ]
                while True:
                    try:
                        producer = producer or await self._producer()
                        await _send(producer, outgoing)
                        break
                    except TransientError:
                        self.resent += 1
                        await _forget(producer)
                        producer = None
                        await asyncio.sleep(_AGAIN_SECONDS)
                self._count("topic", chunk)
        finally:
            await _forget(producer)

    async def _producer(self) -> Producer:
        producer = self._world.broker.producer()
        await producer.start()
        return producer

    async def _over_http(self, messages: Sequence[Raw]) -> None:
        async for chunk in self._chunks(messages, _HTTP_ROWS):
            body = orjson.dumps([_cloudevent(raw) for raw in chunk])
            while not await self._posted(body):
                self.refused += 1
                await asyncio.sleep(_AGAIN_SECONDS)
            self.accepted_by_http.update(raw.number for raw in chunk if not raw.is_label)
            self._count("http", chunk)

    def _count(self, way: str, chunk: Sequence[Raw]) -> None:
        self._sent[way] += sum(not raw.is_label for raw in chunk)
        self._acknowledged.set()

    async def _posted(self, body: bytes) -> bool:
        """Whether it was answered 202. Instances take turns: one of them may be dead."""
        instances = self._world.instances("ingestion")
        instance = instances[self.refused % len(instances)]
        try:
            answer = await self._world.http.post(
                f"{self._world.url(instance)}/v1/pipelines/{NAME}/events",
                content=body,
                headers={"content-type": "application/cloudevents-batch+json"},
            )
        except httpx2.HTTPError:
            return False
        if answer.status_code in (400, 413, 415, 422):
            raise RuntimeError(f"ingestion refused the stream: {answer.text}")
        return answer.status_code == 202


def _headers(raw: Raw) -> list[tuple[str, bytes]]:
    return [("ce_type", LABEL_TYPE.encode())] if raw.is_label else []


def _cloudevent(raw: Raw) -> dict[str, object]:
    kind = LABEL_TYPE if raw.is_label else "chaos.event"
    envelope = {"specversion": "1.0", "id": f"{kind}/{raw.number}", "source": "chaos", "type": kind}
    return {**envelope, "data": orjson.loads(raw.body)}


async def _send(producer: Producer, outgoing: Sequence[Outgoing]) -> None:
    placed = await by_partition(producer, outgoing)
    await asyncio.gather(
        *(producer.send(place.topic, place.partition, part) for place, part in placed.items())
    )


async def _forget(producer: Producer | None) -> None:
    if producer is not None:
        with suppress(TransientError):
            await producer.stop()
