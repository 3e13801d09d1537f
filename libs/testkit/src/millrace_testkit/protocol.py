"""A world in which the bus's real workers run, die, pause and come back by a schedule, and what must hold at its end.

Each member of a group is a process of its own with its own disk (stream form) or its own door to the group's database
(SQL form). See `schedule` for how time and order come about and `faults` for what goes wrong.
"""

import asyncio
import contextvars
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

from sqlalchemy import Connection, select

from millrace_bus import tables
from millrace_bus.broker import TopicPartition, TopicSpec
from millrace_bus.partition import Partition
from millrace_bus.retry import Backoff
from millrace_bus.sql import Database
from millrace_bus.sql_worker import Local, SqlSettings, SqlWorker
from millrace_bus.stream import StreamSettings, StreamWorker, each
from millrace_bus.timer import Timer
from millrace_bus.unit import inject
from millrace_contracts.catalogue import dead_letters_of
from millrace_contracts.message import Cause
from millrace_kernel.errors import TransientError
from millrace_kernel.time import SECOND, Duration, Instant
from millrace_testkit.clock import FixedClock
from millrace_testkit.faults import Disks, Faults, FaultyDatabase
from millrace_testkit.protocol_hearts import (
    KINDS,
    METADATA,
    Accepted,
    Heart,
    ItemCodec,
    SqlChains,
    Stage,
    accepted,
)
from millrace_testkit.protocol_members import MembersBroker, Node, Worker
from millrace_testkit.schedule import (
    Chances,
    Process,
    ScheduledLoop,
)

PARTITIONS = 2
SESSION_TIMEOUT_SECONDS = 1.0
SETTLE_SECONDS = 60.0
TICK = Duration(SECOND)
_PATIENCE_SECONDS = 0.5
_QUICK = Backoff(0.01, 0.2)


class World:
    """`rate`: how often things fail by themselves, see `Faults`."""

    def __init__(
        self, stages: Sequence[Stage], folder: Path, *, seed: int, members: int, rate: float
    ) -> None:
        self.stages = stages
        self.loop = ScheduledLoop(Chances(seed))
        self.faults = Faults(self.loop, self.kill, rate)
        self.disks = Disks(self.faults)
        self.broker = MembersBroker(self.faults)
        self.hearts = {stage: Heart(stage) for stage in stages}
        self.nodes = [
            Node(stage, number, folder / f"{stage.name}-{number}")
            for stage in stages
            for number in range(members)
        ]
        self.crashes: list[BaseException] = []
        self.poison: set[bytes] = set()
        self.requests: list[tuple[Stage, str]] = []
        self.answered: set[str] = set()
        self._clients: list[asyncio.Task[None]] = []
        self._clock = FixedClock(Instant(0))
        self._sequences = [0] * PARTITIONS
        self._folder = folder
        self._tick = asyncio.Event()
        self._databases = {
            stage: self._make_database(stage) for stage in stages if stage.form == "sql"
        }
        self._create_topics()

    def _create_topics(self) -> None:
        names = {KINDS[0][2], *(stage.output for stage in self.stages)}
        names |= {stage.input for stage in self.stages}
        specs = [TopicSpec(name, PARTITIONS) for name in sorted(names)]
        specs += [TopicSpec(dead_letters_of(name), 1) for name in sorted(names)]
        task = self.loop.create_task(self.broker.create_topics(specs))
        self.loop.run_until(task.done, 1.0)

    def _url(self, stage: Stage) -> str:
        return f"sqlite:///{self._folder / stage.name}.db"

    def _make_database(self, stage: Stage) -> Database:
        database = Database(self._url(stage))
        with database.transaction() as connection:
            tables.METADATA.create_all(connection)
            METADATA.create_all(connection)
        return database

    def feed(self, name: str, entity: str, *, counted: bool = True, poison: bool = False) -> None:
        """One more item on the first topic, as the service before it would write it."""
        place = TopicPartition(KINDS[0][2], crc32(entity.encode()) % PARTITIONS)
        sequence = None
        if counted:
            sequence = self._sequences[place.partition]
            self._sequences[place.partition] += 1
        item = Accepted(name, entity, poison=poison)
        if poison:
            self.poison.add(name.encode())
        self.broker.append(place, [accepted(item, sequence, f"upstream/{place.partition}")])

    def feed_again(self, count: int) -> None:
        """The upstream service did not hear the acknowledgement of its last batch and sends it again, as it was."""
        for place in self.broker.places(KINDS[0][2]):
            log = self.broker.logs[place]
            counted = [r for r in log if "ce_sequence" in dict(r.headers)]
            newest = {dict(r.headers)["ce_sequence"]: r for r in counted}
            for _, record in sorted(newest.items())[-count:]:
                self.broker.append_record(place, record)

    def start(self, node: Node) -> None:
        node.wanted = True
        if node.process is not None:
            if node.main is not None and node.main.cancelling():  # when it has ended, then
                node.main.add_done_callback(
                    lambda _: self.start(node) if node.wanted else None,
                    context=contextvars.Context(),
                )
            return
        process = node.process = Process(f"{node.stage.name}-{node.number}")
        node.worker = process.context.run(self._worker, node)
        node.main = process.start(self.loop, self._run(node, process))
        node.main.add_done_callback(
            lambda _: self._ended(node, process), context=contextvars.Context()
        )

    async def _run(self, node: Node, process: Process) -> None:
        worker = node.worker
        assert worker is not None
        try:
            if isinstance(worker, SqlWorker):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(worker.run())
                    tasks.create_task(self._timer(node, worker).run())
            else:
                await worker.run()
        except Exception as error:  # noqa: BLE001  judged at the end: nothing here may stop a service
            if process.alive:
                self.crashes.append(error)

    def _ended(self, node: Node, process: Process) -> None:
        """Its main task came to an end: stopped, or crashed."""
        if process.alive:
            process.alive = False
            self.disks.died(process)
            node.process = None
            # a goodbye that was cut short: the group waits for its session to time out
            self._later(SESSION_TIMEOUT_SECONDS, lambda: self.broker.evict(process))

    def _worker(self, node: Node) -> Worker:
        stage, chances, heart = node.stage, self.loop.chances, self.hearts[node.stage]
        common: dict[str, Any] = {"wire": stage.wire(), "broker": self.broker}
        tuning: dict[str, Any] = {
            "max_records": 1 + chances.below(4),
            "poll_seconds": 0.1,
            "group_commit_seconds": -1.0,  # at every chance, by no clock
            "backoff": _QUICK,
        }
        if stage.form == "stream":
            return StreamWorker(
                stage.name,
                [stage.input],
                process=each(heart.in_stream),
                codec=ItemCodec(),
                settings=StreamSettings(node.folder, **tuning),
                chance=chances.unit,
                **common,
            )
        node.database = FaultyDatabase(self._url(stage), self.faults)
        return SqlWorker(
            stage.name,
            [stage.input],
            handlers={KINDS[stage.number][0]: inject(heart.in_sql, chains=SqlChains)},
            database=node.database,
            settings=SqlSettings(**tuning),
            chance=chances.unit,
            **common,
        )

    def _timer(self, node: Node, worker: SqlWorker) -> Timer:
        kind = KINDS[node.stage.number][0]

        async def sleep(seconds: float) -> None:  # noqa: ARG001  until the schedule says so
            await self._tick.wait()

        return Timer(
            "ticks",
            TICK,
            worker=worker,
            event=lambda tick: kind(f"tick-{tick}", "clock"),
            clock=self._clock,
            sleep=sleep,
        )

    def tick(self) -> None:
        self._clock.advance(TICK)
        self._tick.set()
        self._tick = asyncio.Event()

    def request(self, stage: Stage, name: str) -> None:
        """Somebody asks a SQL service for something, and asks again (anyone who lives) until there is an answer."""
        self.requests.append((stage, name))
        self._clients.append(self.loop.create_task(self._ask(stage, name)))

    async def _ask(self, stage: Stage, name: str) -> None:
        kind = KINDS[stage.number][0]
        local = Local(
            f"http/{name}", "1", kind(name, f"asked-{name}"), Cause(name, Instant(7), name)
        )
        while name not in self.answered:
            ready = [n for n in self.nodes if n.stage is stage and n.process and n.worker]
            if ready:
                node = ready[self.loop.chances.below(len(ready))]
                process, worker = node.process, node.worker
                assert process is not None
                assert isinstance(worker, SqlWorker)
                asked = process.start(self.loop, self._accept(worker, local, name))
                await asyncio.wait([asked], timeout=_PATIENCE_SECONDS)
            else:
                await asyncio.sleep(_PATIENCE_SECONDS)

    async def _accept(self, worker: SqlWorker, local: Local, name: str) -> None:
        try:
            await worker.accept(local)
        except TransientError:
            return
        self.answered.add(name)

    def kill(self, process: Process) -> None:
        """As `kill -9`: nothing of it runs on, what it had committed stays, its sessions time out later."""
        process.alive = False
        self.disks.died(process)
        for node in self.nodes:
            if node.process is process:
                node.process = None
                if node.database is not None:
                    node.database.close()
        self._later(SESSION_TIMEOUT_SECONDS, lambda: self.broker.evict(process))

    def lose_disk(self, node: Node) -> None:
        if node.process is not None:
            self.kill(node.process)
        shutil.rmtree(node.folder, ignore_errors=True)

    def stop(self, node: Node) -> None:
        """Ask it to end, as an operator would."""
        node.wanted = False
        if node.process is not None and not node.process.paused and node.main is not None:
            node.main.cancel()

    def pause(self, process: Process) -> None:
        """As SIGSTOP: it stands still while the group, if it takes long enough, goes on without it."""
        process.paused = True
        self._later(
            SESSION_TIMEOUT_SECONDS, lambda: self.broker.evict(process) if process.paused else None
        )

    def resume(self, process: Process) -> None:
        process.paused = False
        self._later(self.loop.chances.unit(), lambda: self.broker.notice(process))

    def cut_off(self, process: Process) -> None:
        """The group's coordinator does not hear it for too long, while everything else does."""
        self.broker.evict(process)
        self._later(self.loop.chances.unit(), lambda: self.broker.notice(process))

    def _later(self, seconds: float, act: Callable[[], object]) -> None:
        self.loop.call_later(seconds, act, context=contextvars.Context())

    def settle(self) -> bool:
        """Everything heals and comes back; whether all that was owed is done after a while."""
        self.faults.heal()
        for heart in self.hearts.values():
            heart.blocked.clear()
        for node in self.nodes:
            if node.process is not None and node.process.paused:
                self.resume(node.process)
        for stage in self.stages:
            nodes = [node for node in self.nodes if node.stage is stage]
            for node in [node for node in nodes if node.wanted] or nodes[:1]:
                self.start(node)
        return self.loop.run_until_settled(
            lambda: bool(self.crashes) or self._is_quiet(), SETTLE_SECONDS
        )

    def _is_quiet(self) -> bool:
        return (
            not self.faults.sends_under_way
            and len(self.answered) == len(self.requests)
            and all(self.is_done(stage) for stage in self.stages)
        )

    def is_done(self, stage: Stage) -> bool:
        ends = {place: len(self.broker.logs[place]) for place in self.broker.places(stage.input)}
        if stage.form == "sql":
            with self.reading(stage) as connection:
                if connection.execute(select(tables.outbox.c.number).limit(1)).first():
                    return False
                rows = connection.execute(select(tables.positions)).all()
            found = {TopicPartition(row[0], row[1]): row[2] for row in rows}
            return all(found.get(place, 0) == end for place, end in ends.items())
        return all(
            end == 0 or any(partition.position == end for partition in self.partitions(place))
            for place, end in ends.items()
        )

    def partitions(self, place: TopicPartition) -> list[Partition]:
        """What the living members of the place's reader have open of it."""
        return [
            partition
            for node in self.nodes
            if node.process and isinstance(node.worker, StreamWorker)
            if (partition := node.worker._stores.get(place))  # noqa: SLF001  what is there to be judged
        ]

    @contextmanager
    def reading(self, stage: Stage) -> Iterator[Connection]:
        with self._databases[stage].reading() as connection:
            yield connection

    def stop_all(self) -> bool:
        """A clean stop of everything that lives; whether it came to its end."""
        for node in self.nodes:
            self.stop(node)
        return self.loop.run_until(
            lambda: all(node.process is None for node in self.nodes), SETTLE_SECONDS
        )

    def close(self) -> None:
        """Let go of everything, the dead included: their coroutines must not be found by the collector."""
        for node in self.nodes:
            if node.process is not None:
                node.process.alive = False
        self.loop.bury()
        for node in self.nodes:
            if node.database is not None:
                node.database.close()
            if node.process is not None:
                self.disks.died(node.process)
        for database in self._databases.values():
            database.close()
        self.loop.close()
