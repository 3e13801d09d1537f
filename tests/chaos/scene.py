"""What a fault is played on: the stack, the stream that runs through it, and ways to wait for facts."""

import asyncio
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text
from tests.chaos.blueprint import SQL_SERVICES, Store
from tests.chaos.evidence import ends_of
from tests.chaos.feed import Feed
from tests.chaos.history import NAME
from tests.chaos.processes import Managed
from tests.chaos.progress import Progress
from tests.chaos.world import World

from millrace_bus.broker import TopicPartition
from millrace_bus.sql import Database
from millrace_contracts.cloudevents import CONTENT_TYPE, SPEC_VERSION
from millrace_contracts.message import Outgoing
from millrace_kernel.errors import TransientError
from millrace_proto.v1 import commands_pb2

RECOVERY_SECONDS = 120.0
FOREVER = float("inf")
ARMED = "{}.armed"  # a file in the stack's folder: that service is to die at the next chance
_LOOK_SECONDS = 0.05
_LOCK_SECONDS = 2.0  # longer than any transaction of one that runs
_CONSUMED = "millrace_messages_consumed_total"
_READ_BY_MONITORING = ("millrace.predictions", "millrace.labels")


class NotSeenError(RuntimeError):
    """A fact did not come true in time: what was waited for."""


@dataclass(slots=True)
class Scene:
    world: World
    feed: Feed
    progress: Progress
    slice: int  # how many events a fault that needs the stream to go on meanwhile may let through
    end: int  # how far the stream may go for the fault that is being played
    commands: int = 0
    problems: list[str] = field(default_factory=list)

    async def until(
        self,
        fact: Callable[[], bool | Awaitable[bool]],
        what: str,
        within: float = RECOVERY_SECONDS,
    ) -> float:
        """Wait for a fact; how many seconds it took. Raises NotSeenError."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            answer = fact()
            if not isinstance(answer, bool):
                answer = await answer
            if answer:
                return loop.time() - began
            if loop.time() - began > within:
                self.world.tell_stacks()
                raise NotSeenError(f"not within {within:g} s: {what}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def goes_on(self) -> None:
        """Wait until an event is scored that was not before."""
        before = self.progress.scored
        await self.until(lambda: self.progress.scored > before, "events are scored again")

    async def works_again(self, instance: str) -> bool:
        """Whether it is ready and has handled, in its new life, messages that waited for it."""
        if not await self.world.is_ready(instance):
            return False
        return bool(await self.world.metric(instance, _CONSUMED))

    async def has_published(self, instance: str) -> bool:
        """Whether it is ready and what was owed has reached the broker."""
        if not await self.world.is_ready(instance):
            return False
        return bool(await self.world.metric(instance, "millrace_messages_produced_total"))

    async def feed_a_slice(self) -> None:
        """Let some of the stream pass, and wait until it is acknowledged."""
        await self.feed.until(min(self.feed.gate + self.slice, self.end))

    def all_scored(self) -> bool:
        return self.progress.scored >= self.feed.fed

    async def monitoring_has_heard_all(self) -> bool:
        """Whether monitoring has committed everything that is on its topics."""
        return await self.lag("monitoring", _READ_BY_MONITORING) == 0

    async def features_has_said_all(self) -> bool:
        """Whether there are as many feature vectors as events were fed; repeats count too, so this is a floor."""
        ends = await ends_of(self.world.broker, ["millrace.features"])
        return ends["millrace.features"] >= self.feed.fed

    async def lag(self, service: str, only: Sequence[str] = ()) -> int:
        """How many records a SQL service has not committed yet, by its own positions."""
        positions = await asyncio.to_thread(_positions, self.world.database_url(service))
        topics = {place.topic for place in positions}
        consumer = self.world.broker.consumer()
        await consumer.start()
        try:
            ends = await consumer.ends(await consumer.assign(sorted(topics | set(only))))
        finally:
            await consumer.stop()
        return sum(max(0, end - positions.get(place, 0)) for place, end in ends.items())

    async def committed(self, service: str) -> int:
        """How many records a SQL service has committed, by its own positions."""
        positions = await asyncio.to_thread(_positions, self.world.database_url(service))
        return sum(positions.values())

    async def sql_services_have_read_all(self) -> bool:
        for service in SQL_SERVICES:
            if await self.lag(service):
                return False
        return True

    async def ask_the_registry(self) -> None:
        """A command that changes nothing: work for the registry, which has little."""
        self.commands += 1
        command = commands_pb2.PausePipeline(
            pipeline=NAME, paused=False, actor="chaos", reason=f"ask {self.commands}"
        )
        said = {
            "id": f"chaos-{self.commands}",
            "source": "chaos",
            "type": "millrace.v1.PausePipeline",
        }
        headers = [SPEC_VERSION, CONTENT_TYPE, *((f"ce_{k}", v.encode()) for k, v in said.items())]
        message = Outgoing("millrace.commands", NAME.encode(), command.SerializeToString(), headers)
        while True:
            producer = self.world.broker.producer()
            try:
                await producer.start()
                await producer.send(message.topic, 0, [message])
            except TransientError:
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return
            finally:
                await producer.stop()

    async def stand_still(self, instance: str) -> None:
        """SIGSTOP, but not while it has SQLite's one write lock in its hand.

        Whoever stops inside a transaction keeps all others out of the same file; that is why several instances want
        PostgreSQL, and no question of what is lost.
        """
        process = self.process(instance)
        service = instance.partition("-")[0]
        while True:
            process.send(signal.SIGSTOP)
            if self.world.blueprint.store is not Store.SQLITE or service not in SQL_SERVICES:
                return
            database = self.world.home / service / f"{service}.db"
            if await asyncio.to_thread(_can_be_written, database):
                return
            process.send(signal.SIGCONT)
            await asyncio.sleep(_LOOK_SECONDS)

    def arm(self, service: str) -> None:
        """Ask a service to die between two stages: see `stages.dies_between`."""
        (self.world.home / ARMED.format(service)).touch()

    def process(self, instance: str) -> Managed:
        return self.world.instance(instance)


def _can_be_written(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=_LOCK_SECONDS)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.rollback()
        return True


def _positions(url: str) -> dict[TopicPartition, int]:
    database = Database(url)
    try:
        with database.reading() as connection:
            rows = connection.execute(
                text("SELECT topic, partition, next_offset FROM bus_positions")
            )
            return {TopicPartition(topic, number): offset for topic, number, offset in rows}
    finally:
        database.close()
