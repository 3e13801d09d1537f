"""What can go wrong, at every place where a reader waits for the broker, its database or its disk.

A `Faults` holds the rates of what happens by itself and a list of what has been ordered; both are drawn from `Chances`,
so a schedule with its faults can be played again. Everything here needs a `schedule.ScheduledLoop`.
"""

import asyncio
import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest.mock import patch

from rocksdict import DbClosedError
from sqlalchemy import Connection
from typing_extensions import override

from millrace_bus.broker import TopicPartition
from millrace_bus.sql import Database, DatabaseAwayError
from millrace_bus.store import PartitionStore
from millrace_contracts.message import Outgoing
from millrace_kernel.errors import TransientError
from millrace_testkit.memory import Network
from millrace_testkit.schedule import Killed, Process, ScheduledLoop, current_process

T = TypeVar("T")

LOST = "lost"  # the request never arrived
LATE = "late"  # the sender gave up, and the request arrived after all
UNANSWERED = "unanswered"  # the broker acted, the answer was lost
KILLED_BEFORE = "killed before"  # the process died before the request left
KILLED_AFTER = "killed after"  # the process died when the request had left: it arrives
FAULTS = (LOST, LATE, UNANSWERED, KILLED_BEFORE, KILLED_AFTER)

_SOON_SECONDS = 0.05
_LATE_SECONDS = 3.0


@dataclass
class Order:
    """One fault that strikes when `wait` more errands of this kind have been run."""

    errand: str
    fault: str
    wait: int


@dataclass
class Faults:
    """`rate`: how often an errand fails by itself; a death is a tenth as likely as a failure."""

    loop: ScheduledLoop
    kill: Callable[[Process], None]
    rate: float = 0.0
    away: bool = False
    orders: list[Order] = field(default_factory=list)
    struck: dict[str, int] = field(default_factory=dict)
    sends_under_way: int = 0

    def strike(self, errand: str) -> str | None:
        """What befalls this errand; None: nothing."""
        process = current_process()
        if process is None:
            return None
        if not process.alive:
            raise Killed
        fault = self._ordered(errand) or self._by_itself()
        if fault is not None:
            name = f"{errand}: {fault}"
            self.struck[name] = self.struck.get(name, 0) + 1
        return fault

    def _ordered(self, errand: str) -> str | None:
        for order in self.orders:
            if order.errand == errand:
                if order.wait == 0:
                    self.orders.remove(order)
                    return order.fault
                order.wait -= 1
        return None

    def _by_itself(self) -> str | None:
        if not self.rate or not self.loop.chances.happens(self.rate):
            return None
        return FAULTS[self.loop.chances.below(len(FAULTS))]

    def die(self) -> Killed:
        """Kill the process that is running, as `kill -9` would; raise what this returns."""
        process = current_process()
        assert process is not None
        self.kill(process)
        return Killed()

    def heal(self) -> None:
        self.rate, self.away = 0.0, False
        self.orders.clear()

    def point(self, errand: str, error: type[TransientError]) -> None:
        """A place in synchronous code, before and after something that is all or nothing."""
        fault = self.strike(errand)
        if fault in (KILLED_BEFORE, KILLED_AFTER):
            raise self.die()
        if fault is not None:
            raise error(f"{errand}: {fault}")


class FaultyNetwork(Network):
    """Requests travel for a while, get lost, arrive late, are not answered; senders die with requests under way."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    @override
    def pieces(self, messages: Sequence[Outgoing]) -> Iterable[Sequence[Outgoing]]:
        chances, start = self.faults.loop.chances, 0
        while start < len(messages):
            end = start + 1 + chances.below(len(messages) - start)
            yield messages[start:end]
            start = end

    @override
    async def deliver(self, errand: str, place: TopicPartition | None, act: Callable[[], T]) -> T:
        faults = self.faults
        if faults.away and errand != "stop":
            faults.strike(errand)
            await asyncio.sleep(_SOON_SECONDS)
            raise TransientError(f"{errand}: the broker is away")
        fault = faults.strike(errand)
        if fault == KILLED_BEFORE:
            raise faults.die()
        if fault == LOST and errand != "stop":  # a goodbye is not waited for
            await asyncio.sleep(self._travel())
            raise TransientError(f"{errand}: {fault}")
        answer = self._leave(
            errand, act, _LATE_SECONDS if fault == LATE and errand == "send" else 0.0
        )
        if fault == KILLED_AFTER:
            raise faults.die()
        if fault == LATE and errand == "send":
            await asyncio.sleep(self._travel())
            raise TransientError(f"{errand}: {fault}")
        outcome = await answer
        await asyncio.sleep(self._travel())
        if fault == UNANSWERED and errand in ("send", "commit", "start"):
            raise TransientError(f"{errand}: {fault}")
        faults.strike("return of " + errand)
        return outcome

    def _travel(self) -> float:
        chances = self.faults.loop.chances
        return chances.unit() * _SOON_SECONDS if chances.happens(0.5) else 0.0

    def _leave(self, errand: str, act: Callable[[], T], late: float) -> "asyncio.Future[T]":
        """The request is on its way and arrives, whatever becomes of the sender."""
        faults = self.faults
        answer: asyncio.Future[T] = faults.loop.create_future()
        sends = 1 if errand == "send" else 0
        faults.sends_under_way += sends

        def arrive() -> None:
            faults.sends_under_way -= sends
            try:
                outcome = act()
            except Exception as error:  # noqa: BLE001  the broker's refusal is an answer too
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # the sender may be dead: nobody else has to look
            else:
                if not answer.done():
                    answer.set_result(outcome)

        delay = self._travel() + late * faults.loop.chances.unit()
        faults.loop.call_later(delay, arrive, context=contextvars.Context())
        return answer


class FaultyDatabase(Database):
    """A transaction may find the database away, or succeed without a word, or be the last thing its process did."""

    def __init__(self, url: str, faults: Faults) -> None:
        super().__init__(url)
        self._faults = faults

    @override
    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        self._faults.point("transaction", DatabaseAwayError)
        with super().transaction() as connection:
            yield connection
        self._faults.point("committed", DatabaseAwayError)

    @override
    @contextmanager
    def reading(self) -> Iterator[Connection]:
        self._faults.point("query", DatabaseAwayError)
        with super().reading() as connection:
            yield connection


class Disks:
    """Knows which process has which store open: the stores of a dead process are let go of, with what was committed."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._open: dict[PartitionStore, Process] = {}

    def died(self, process: Process) -> None:
        for store in [store for store, owner in self._open.items() if owner is process]:
            del self._open[store]
            with suppress(DbClosedError):
                store._database.close()  # noqa: SLF001  a kernel does this to a dead process

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Every store that is opened, committed to or closed in this block is known of."""
        disks, create = self, PartitionStore.__init__
        commit, close = PartitionStore.commit, PartitionStore.close

        def created(store: PartitionStore, *args: Any, **named: Any) -> None:
            create(store, *args, **named)
            if process := current_process():
                disks._open[store] = process

        def committed(store: PartitionStore, *args: Any, **named: Any) -> None:
            disks._may_die("store")
            commit(store, *args, **named)
            disks._may_die("stored")

        def closed(store: PartitionStore) -> None:
            process = current_process()
            if process is None or process.alive:
                disks._open.pop(store, None)
                close(store)

        with (
            patch.object(PartitionStore, "__init__", created),
            patch.object(PartitionStore, "commit", committed),
            patch.object(PartitionStore, "close", closed),
        ):
            yield

    def _may_die(self, errand: str) -> None:
        if self._faults.strike(errand) in (KILLED_BEFORE, KILLED_AFTER):
            raise self._faults.die()
