"""The members of the groups of a simulated world, and the broker that knows whose sessions are whose."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from millrace_bus.broker import RebalanceListener
from millrace_bus.sql import Database
from millrace_bus.sql_worker import SqlWorker
from millrace_bus.stream import StreamWorker
from millrace_testkit.faults import Faults, FaultyNetwork
from millrace_testkit.memory import MemoryBroker, MemoryConsumer
from millrace_testkit.protocol_hearts import (
    Stage,
)
from millrace_testkit.schedule import (
    Process,
    current_process,
)

Worker = StreamWorker | SqlWorker


@dataclass(eq=False)
class Node:
    """A member of a stage's group: a place where a process runs, with a disk that outlives it."""

    stage: Stage
    number: int
    folder: Path
    wanted: bool = False
    process: Process | None = None
    worker: Worker | None = None
    database: Database | None = None
    main: "asyncio.Task[Any] | None" = None


class MembersBroker(MemoryBroker):
    """Remembers whose consumers are whose, to let a dead process's sessions time out."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(network=FaultyNetwork(faults))
        self.consumers: dict[Process, list[tuple[str, MemoryConsumer]]] = {}

    @override
    def consumer(
        self, group: str | None = None, listener: RebalanceListener | None = None
    ) -> MemoryConsumer:
        consumer = super().consumer(group, listener)
        if (process := current_process()) and group:
            self.consumers.setdefault(process, []).append((group, consumer))
        return consumer

    def evict(self, process: Process) -> None:
        for group, consumer in self.consumers.get(process, []):
            if consumer.member is not None:
                self.groups[group].evict(consumer.member)

    def notice(self, process: Process) -> None:
        for group, consumer in self.consumers.get(process, [])[-1:]:
            if consumer.member is not None:
                self.groups[group].notice(consumer.member)
