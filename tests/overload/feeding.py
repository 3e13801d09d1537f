"""Offers events: over HTTP, as well-behaved clients do, and on the raw topic itself. Both write down what was accepted."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx2
from tests.overload.events import PIPELINE_NAME, RAW_TOPIC, Book, Event, event

from millrace_bus.kafka import KafkaBroker, KafkaSettings
from millrace_bus.outputs import by_partition
from millrace_contracts.message import Outgoing
from millrace_kernel.errors import TransientError

_NDJSON = {"content-type": "application/x-ndjson"}
_AGAIN_SECONDS = 0.5
_PACE_SECONDS = 0.05


@dataclass(slots=True)
class Told:
    """What the clients of HTTP heard. `refused` events were due while their client had been told to stay away."""

    offered: int = 0
    accepted: int = 0
    refused: int = 0
    answers: dict[int, int] = field(default_factory=dict)
    longest_retry_after: int = 0
    failed: int = 0

    def heard(self, status: int) -> None:
        self.answers[status] = self.answers.get(status, 0) + 1


class HttpClient:
    """One client: batch after batch, at its pace. What is refused it sends again, after as long as it was told."""

    def __init__(
        self,
        url: str,
        book: Book,
        told: Told,
        *,
        rate: float,
        batch: int,
        most: int | None = None,
    ) -> None:
        self._url = f"{url}/v1/pipelines/{PIPELINE_NAME}/events"
        self._book = book
        self._told = told
        self._rate = rate
        self._batch = batch
        self._most = most

    async def run(self, until: asyncio.Event) -> None:
        """Offer until told to end, or `most` events of all clients are accepted; a batch under way is carried to its end."""
        loop = asyncio.get_running_loop()
        began, due = loop.time(), 0
        async with httpx2.AsyncClient(timeout=60) as http:
            while not until.is_set() and (self._most is None or self._told.accepted < self._most):
                behind = int((loop.time() - began) * self._rate) - due
                if behind < self._batch:
                    await asyncio.sleep(_PACE_SECONDS)
                    continue
                due += self._batch
                self._told.offered += self._batch
                away = await self._send(http, [event(n) for n in self._book.next(self._batch)])
                missed = int(away * self._rate)
                due += missed
                self._told.offered += missed
                self._told.refused += missed

    async def _send(self, http: httpx2.AsyncClient, rest: Sequence[Event]) -> float:
        """Until all of it is accepted. How many seconds it was told to stay away."""
        away = 0.0
        while rest:
            try:
                body = b"\n".join(one.value for one in rest)
                answer = await http.post(self._url, content=body, headers=_NDJSON)
            except httpx2.TransportError:
                self._told.failed += 1
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            self._told.heard(answer.status_code)
            if answer.status_code == 202:
                self._accept(rest)
                return away
            if answer.status_code not in (429, 503):
                raise AssertionError(f"HTTP answered {answer.status_code}: {answer.text[:500]}")
            there = set(answer.json().get("accepted_rows", ()))
            self._accept([one for index, one in enumerate(rest) if index in there])
            rest = [one for index, one in enumerate(rest) if index not in there]
            seconds = int(answer.headers["retry-after"])
            self._told.longest_retry_after = max(self._told.longest_retry_after, seconds)
            await asyncio.sleep(seconds)
            away += seconds
        return away

    def _accept(self, events: Sequence[Event]) -> None:
        self._book.accept(one.number for one in events)
        self._told.accepted += len(events)


async def spoil(url: str, requests: int, rows: int) -> Mapping[int, int]:
    """Large requests, all at once, of which the last row is wrong: much work and memory, and nothing is appended.

    The answers by status: 422, or 429 for those that there was no room for.
    """
    good = event(0).value
    body = b"\n".join([*[good] * (rows - 1), b'{"id": "spoiled"}'])
    async with httpx2.AsyncClient(timeout=120, limits=httpx2.Limits(max_connections=None)) as http:
        path = f"{url}/v1/pipelines/{PIPELINE_NAME}/events"
        posting = [http.post(path, content=body, headers=_NDJSON) for _ in range(requests)]
        answers = await asyncio.gather(*posting)
    return dict(Counter(answer.status_code for answer in answers))


async def feed_topic(
    bootstrap: str,
    book: Book,
    *,
    rate: float | None = None,
    most: int,
    seconds: float | None = None,
    batch: int = 500,
    padding: int = 0,
) -> int:
    """Append to the raw topic at a rate (None: as fast as it goes) until `most` events or `seconds` are over.

    The next batch leaves when the one before is acknowledged; a failed one is sent again. Returns how many there were.
    """
    producer = KafkaBroker(KafkaSettings(bootstrap)).producer()
    await producer.start()
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0
    try:
        while sent < most and (seconds is None or loop.time() - began < seconds):
            if rate is not None and sent > (loop.time() - began) * rate:
                await asyncio.sleep(_PACE_SECONDS)
                continue
            numbers = book.next(min(batch, most - sent))
            records = [
                Outgoing(RAW_TOPIC, one.key, one.value, [])
                for one in (event(number, padding) for number in numbers)
            ]
            while True:
                try:
                    placed = await by_partition(producer, records)
                    for place, part in placed.items():
                        await producer.send(place.topic, place.partition, part)
                    break
                except TransientError:
                    await asyncio.sleep(_AGAIN_SECONDS)
            book.accept(numbers)
            sent += len(numbers)
            await asyncio.sleep(0)
        return sent
    finally:
        await producer.stop()
