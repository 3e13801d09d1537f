"""What is done to the stack, one after the other, and what is measured of each."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.overload.budget import LIMITS_MIB
from tests.overload.events import Book
from tests.overload.feeding import HttpClient, Told, feed_topic, spoil
from tests.overload.memory import Memory
from tests.overload.slowing import slowed
from tests.overload.system import (
    Reader,
    Report,
    disk_gb,
    has_a_model,
    pids_of,
    settled,
    until_handled,
)

from millrace_testkit.stack import Stack

FIRST_MODEL_AFTER = 600
_CLIENTS = 8
_ROWS_OF_A_REQUEST = 200
_LEAST_FREE_BYTES = 20 << 30
_TRIAL_EVENTS = 20_000
_FAT_EVENTS, _FAT_BYTES = 1_000, 400_000
_SPOILED_REQUESTS, _SPOILED_ROWS = 60, 20_000


@dataclass(frozen=True, slots=True)
class Plan:
    """`most_events` bounds what each way takes in: a backlog of n sustainable seconds takes n seconds to work off."""

    minutes: float
    times: float
    most_events: int
    slow_seconds: float


@dataclass(slots=True)
class Outcome:
    """Of one scenario. Memory in MiB, the highest that was seen."""

    target: str
    offered: int = 0
    accepted: int = 0
    refused: int = 0
    answers: Mapping[int, int] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    settled_after_seconds: float = 0.0
    broker_gb: float = 0.0
    peak_mib: Mapping[str, float] = field(default_factory=dict)

    @property
    def too_large(self) -> list[str]:
        return [name for name, peak in self.peak_mib.items() if peak > LIMITS_MIB[name]]

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.too_large)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"too_large": self.too_large}


class Scenarios:
    """One stack, one book: each scenario goes on where the one before has ended."""

    def __init__(self, stack: Stack, plan: Plan, report: Report) -> None:
        self.stack = stack
        self.plan = plan
        self.rate = 0.0
        self._report = report
        self._book = Book()
        self._reader = Reader(stack)
        self._memory = Memory(lambda: pids_of(stack))

    async def prepare(self) -> None:
        """A first model, and roughly how many events a second the stack can do, from their arrival to the last service."""
        await self._feed(FIRST_MODEL_AFTER + 200)
        await until_handled(self.stack, self._book.accepted, self._report)
        for _ in range(120):
            if await has_a_model(self.stack):
                break
            await asyncio.sleep(1)
        else:
            self._report("no model after two minutes: the fallback answers")
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._feed(_TRIAL_EVENTS)
        await until_handled(self.stack, self._book.accepted, self._report)
        self.rate = _TRIAL_EVENTS / (loop.time() - began)

    async def too_much(self) -> Outcome:
        """So many times the sustainable rate: half of it over HTTP, half on the topic."""
        async with self._measured("10x") as outcome:
            outcome.target = f"{self.plan.times:g}x"
            each, seconds = self.rate * self.plan.times / 2, self.plan.minutes * 60
            told, enough = Told(), asyncio.Event()
            clients = [
                HttpClient(
                    self.stack.url("ingestion"),
                    self._book,
                    told,
                    rate=each / _CLIENTS,
                    batch=_ROWS_OF_A_REQUEST,
                    most=self.plan.most_events,
                )
                for _ in range(_CLIENTS)
            ]
            async with asyncio.TaskGroup() as tasks:
                for client in clients:
                    tasks.create_task(client.run(enough))
                topic = tasks.create_task(self._feed(self.plan.most_events, each, seconds))
                asyncio.get_running_loop().call_later(seconds, enough.set)
            outcome.offered = told.offered + topic.result()
            outcome.refused, outcome.answers = told.refused, told.answers
        return outcome

    async def slow(self, service: str) -> Outcome:
        """Twice the sustainable rate while one service has a tenth of its time."""
        async with self._measured(f"slow {service}") as outcome:
            seconds = self.plan.slow_seconds
            async with slowed(pids_of(self.stack)[service]):
                outcome.offered = await self._feed(
                    int(2 * self.rate * seconds), 2 * self.rate, seconds
                )
        return outcome

    async def fat(self) -> Outcome:
        """Rows and requests near the size that is allowed: what is bounded by count must be bounded by bytes, too."""
        async with self._measured("fat rows") as outcome:
            outcome.offered = await feed_topic(
                self.stack.bootstrap, self._book, most=_FAT_EVENTS, batch=10, padding=_FAT_BYTES
            )
            outcome.answers = await spoil(
                self.stack.url("ingestion"), _SPOILED_REQUESTS, _SPOILED_ROWS
            )
        return outcome

    async def _feed(
        self, most: int, rate: float | None = None, seconds: float | None = None
    ) -> int:
        free = shutil.disk_usage(self.stack.home).free
        if free < _LEAST_FREE_BYTES:
            raise OSError(
                f"only {free / 1e9:.0f} GB are free in {self.stack.home}; the backlog needs more"
            )
        return await feed_topic(
            self.stack.bootstrap, self._book, rate=rate, most=most, seconds=seconds
        )

    @asynccontextmanager
    async def _measured(self, target: str) -> AsyncIterator[Outcome]:
        """Around the load; waits until all that was accepted is processed, and fills in the rest."""
        self._report(f"{target} …")
        outcome, loop = Outcome(target), asyncio.get_running_loop()
        began, before = loop.time(), self._book.accepted
        self._memory.begin_again()
        watching = asyncio.ensure_future(self._memory.run())
        try:
            yield outcome
            outcome.seconds = loop.time() - began
            found = await settled(self.stack, self._book, self._reader, self._report)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        outcome.settled_after_seconds = loop.time() - began - outcome.seconds
        outcome.accepted = self._book.accepted - before
        outcome.lost, outcome.doubled = len(found.lost), len(found.doubled) + len(found.unknown)
        outcome.broker_gb = disk_gb(self.stack)
        outcome.peak_mib = {name: round(peak, 1) for name, peak in self._memory.peaks.items()}
