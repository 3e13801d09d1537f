"""Runs a stack's programs until it is told to stop; says in `stack.json` what runs."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from millrace.supervisor import stack_file
from millrace.supervisor.keeper import Keeper, Report
from millrace.supervisor.logs import rotate
from millrace.supervisor.program import Program
from millrace.supervisor.restarts import Restarts
from millrace.supervisor.stack_file import Stack
from millrace_kernel.time import Clock, rfc3339

GRACE_SECONDS = 25.0


class Supervisor:
    """All programs are started at once; a higher tier is ended before a lower one.

    The services wait for their broker by themselves, so nothing here waits for anything to be ready.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        home: Path,
        bootstrap: str,
        tracing_ui: str | None,
        clock: Clock,
        report: Report,
        restarts: Restarts | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._home = home
        self._bootstrap = bootstrap
        self._tracing_ui = tracing_ui
        self._clock = clock
        self._report = report
        self._grace_seconds = grace_seconds
        self._stop = asyncio.Event()
        self._started = rfc3339(clock.now())
        self._me = stack_file.seen(os.getpid())
        self._keepers = [
            Keeper(
                program,
                home=home,
                log=home / "logs" / f"{program.name}.log",
                clock=clock,
                restarts=restarts or Restarts(),
                changed=self._write,
                report=report,
            )
            for program in programs
        ]

    def stop(self) -> None:
        """End everything, in order; `run` returns then."""
        self._stop.set()

    async def run(self) -> None:
        """Work until `stop`, SIGTERM or SIGINT. Raises what a program needed and didn't get, after ending the others."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        for keeper in self._keepers:
            rotate(self._home / "logs" / f"{keeper.program.name}.log")
        self._write()
        stopping = asyncio.ensure_future(self._stop.wait())
        tasks = [asyncio.ensure_future(keeper.run()) for keeper in self._keepers]
        try:
            await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await self._end_all()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            (self._home / "stack.json").unlink(missing_ok=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _end_all(self) -> None:
        tiers = sorted({keeper.program.tier for keeper in self._keepers}, reverse=True)
        for tier in tiers:
            ending = [keeper for keeper in self._keepers if keeper.program.tier == tier]
            self._report("supervisor", f"ending {', '.join(k.program.name for k in ending)}")
            await asyncio.gather(*(keeper.stop(self._grace_seconds) for keeper in reversed(ending)))

    def _write(self) -> None:
        stack = Stack(
            home=str(self._home),
            supervisor=self._me,
            started=self._started,
            bootstrap=self._bootstrap,
            tracing_ui=self._tracing_ui,
            processes=tuple(keeper.state() for keeper in self._keepers),
        )
        stack_file.write(self._home / "stack.json", stack)
