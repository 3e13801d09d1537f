"""An event loop whose order, time and deaths are chosen: many processes in one, each with a queue of its own.

What runs next is drawn from the processes that can run; within one process callbacks keep asyncio's own order, as they
would on a real loop. Time stands still while anything can run and then jumps to the next timer. Threads are run by the
loop itself, at a moment of its choosing. So a schedule is a function of its `Chances` alone, and can be played again.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from typing_extensions import override

_LONGEST_THREAD_SECONDS = 0.02
_TASKS_KEPT = 500
_WHILE_SECONDS = 0.2
_BURIAL_ROUNDS = 50


class Killed(BaseException):
    """Raised inside a process that has just died, so that what it was doing goes no further."""


class Chances:
    """A stream of numbers that a seed decides, the same on every machine (splitmix64)."""

    def __init__(self, seed: int) -> None:
        self._state = seed & 0xFFFF_FFFF_FFFF_FFFF

    def _next(self) -> int:
        self._state = state = (self._state + 0x9E37_79B9_7F4A_7C15) & 0xFFFF_FFFF_FFFF_FFFF
        state = ((state ^ (state >> 30)) * 0xBF58_476D_1CE4_E5B9) & 0xFFFF_FFFF_FFFF_FFFF
        state = ((state ^ (state >> 27)) * 0x94D0_49BB_1331_11EB) & 0xFFFF_FFFF_FFFF_FFFF
        return state ^ (state >> 31)

    def below(self, bound: int) -> int:
        """A whole number in [0, bound)."""
        return self._next() % bound

    def unit(self) -> float:
        """A number in [0, 1)."""
        return (self._next() >> 11) / (1 << 53)

    def happens(self, probability: float) -> bool:
        return self.unit() < probability


class Process:
    """What dies and pauses as one: the tasks that were started in it, their timers and their threads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self._context = contextvars.copy_context()
        self._context.run(_PROCESS.set, self)

    @property
    def context(self) -> contextvars.Context:
        """A fresh copy: a context can be entered only once at a time."""
        return self._context.copy()

    def start(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]
    ) -> "asyncio.Task[Any]":
        return loop.create_task(work, context=self.context)

    @override
    def __repr__(self) -> str:
        return f"Process({self.name})"


_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def current_process() -> Process | None:
    """The process whose code is running; None: the world outside of all processes (the broker, the test)."""
    return _PROCESS.get()


def process_of(context: contextvars.Context | None) -> Process | None:
    return None if context is None else context.get(_PROCESS, None)


class NothingCanHappenError(RuntimeError):
    """Everybody waits for somebody outside, or for somebody else: a deadlock."""


class ScheduledLoop(asyncio.BaseEventLoop):
    """Draws what runs next. `run_until(fact, seconds)` advances the world."""

    _ready: deque[Any]  # BaseEventLoop's own, which its stubs do not show
    _scheduled: list[Any]

    def __init__(self, chances: Chances) -> None:
        super().__init__()
        self.chances = chances
        self.steps = 0
        self.failures: list[dict[str, Any]] = []
        self._now = 0.0
        self._queues: dict[Process | None, deque[Any]] = {None: deque()}
        self._tasks: list[
            asyncio.Task[Any]
        ] = []  # all of them: none may be collected in the middle
        self._of_the_dead: deque[Any] = deque()
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda _loop, context: self.failures.append(context))

    def _make_task(self, _loop: Any, work: Any, **named: Any) -> "asyncio.Task[Any]":
        task = asyncio.Task(work, loop=self, **named)
        if len(self._tasks) > _TASKS_KEPT:
            self._tasks = [known for known in self._tasks if not known.done()]
        self._tasks.append(task)
        return task

    @override
    def time(self) -> float:
        return self._now

    @override
    def run_in_executor(  # type: ignore[override]  # threads are not the caller's to choose
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """A thread: starts later, runs at once as far as others see, is heard of later still. Nothing cancels it."""
        future = self.create_future()

        def answer(settle: Callable[[Any], None], outcome: Any) -> None:
            if not future.done():
                settle(outcome)

        def work() -> None:
            try:
                outcome = func(*args)
            except Exception as error:  # noqa: BLE001  a thread hands every error to its caller
                self.call_later(self._a_while(), answer, future.set_exception, error)
            except Killed:
                return
            else:
                self.call_later(self._a_while(), answer, future.set_result, outcome)

        self.call_later(self._a_while(), work)
        return future

    def _a_while(self) -> float:
        return self.chances.unit() * _LONGEST_THREAD_SECONDS if self.chances.happens(0.5) else 0.0

    def _run_once(self) -> None:
        """One callback of one process, drawn; or the next timers, when nobody can run."""
        self._sort_out()
        able = [
            process
            for process, queue in self._queues.items()
            if queue and (process is None or not process.paused)
        ]
        if not able:
            self._pass_time()
            return
        handle = self._queues[able[self.chances.below(len(able))]].popleft()
        if not handle._cancelled:  # noqa: SLF001  as the loop itself does
            self.steps += 1
            handle._run()  # noqa: SLF001

    def _sort_out(self) -> None:
        """Every callback that became ready goes to its process; those of the dead go nowhere."""
        ready = self._ready
        while ready:
            handle = ready.popleft()
            process = process_of(handle._context)  # noqa: SLF001
            if process is None or process.alive:
                self._queues.setdefault(process, deque()).append(handle)
            else:
                self._of_the_dead.append(handle)
        for process in [p for p in self._queues if p is not None and not p.alive]:
            self._of_the_dead += self._queues.pop(process)

    def _pass_time(self) -> None:
        scheduled = self._scheduled
        scheduled.sort()
        while scheduled and (scheduled[0]._cancelled or self._is_dead(scheduled[0])):  # noqa: SLF001
            scheduled.pop(0)._scheduled = False  # noqa: SLF001
        if not scheduled:
            raise NothingCanHappenError("nobody can run and no timer is set: a deadlock")
        self._now = max(self._now, scheduled[0]._when)  # noqa: SLF001
        while scheduled and scheduled[0]._when <= self._now:  # noqa: SLF001
            handle = scheduled.pop(0)
            handle._scheduled = False  # noqa: SLF001
            self._ready.append(handle)

    @staticmethod
    def _is_dead(handle: Any) -> bool:
        process = process_of(handle._context)  # noqa: SLF001
        return process is not None and not process.alive

    def advance(self, steps: int) -> None:
        """Run so many callbacks."""
        end = self.steps + steps
        self._drive(lambda: self.steps >= end, self._now + 3_600)

    def run_until(self, fact: Callable[[], bool], seconds: float) -> bool:
        """Run until the fact holds; False when so much of the loop's own time passed without."""
        return self._drive(fact, self._now + seconds)

    def run_until_settled(self, fact: Callable[[], bool], seconds: float) -> bool:
        """As `run_until`, for facts that are dear to ask: asked once in a while."""
        end = self._now + seconds
        while not fact():
            if self._now > end:
                return False
            self.run_until(lambda: False, _WHILE_SECONDS)
        return True

    def _drive(self, fact: Callable[[], bool], deadline: float) -> bool:
        with _running(self):
            while not fact():
                if self._now > deadline:
                    return False
                try:
                    self._run_once()
                except NothingCanHappenError:
                    self._now = deadline
                    return fact()
        return True

    def bury(self) -> None:
        """Let every task end, the dead's too: coroutines must not be left to the collector."""
        with _running(self):
            for _ in range(_BURIAL_ROUNDS):
                for task in self._tasks:
                    if not task.done():
                        task.cancel()
                self._run_all()
                self._tasks = [task for task in self._tasks if not task.done()]
                if not self._tasks:
                    return
        raise RuntimeError(f"tasks that refuse to end: {self._tasks}")

    def _run_all(self) -> None:
        for queue in (self._of_the_dead, *self._queues.values()):
            self._ready.extend(queue)
            queue.clear()
        while self._ready:
            handle = self._ready.popleft()
            if not handle._cancelled:  # noqa: SLF001
                handle._run()  # noqa: SLF001

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets here."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""


class _running:  # noqa: N801  used as a function
    """Make a loop the running one while it is driven from outside."""

    def __init__(self, loop: ScheduledLoop) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        asyncio._set_running_loop(self._loop)  # noqa: SLF001  the documented seam for loops of one's own

    def __exit__(self, *error: object) -> None:
        asyncio._set_running_loop(None)  # noqa: SLF001
