"""Keeps one program running until it is told to stop."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from millrace.settings import inherited_environment
from millrace.supervisor.program import Program
from millrace.supervisor.restarts import Restarts
from millrace.supervisor.stack_file import MARK, ProcessState, Seen, seen
from millrace_kernel.time import Clock, rfc3339

Report = Callable[[str, str], None]  # (program, what happened)


class Keeper:
    """Starts a program, starts it again when it dies, ends it when asked.

    The program runs in a session of its own: Ctrl-C is for the supervisor alone, and what the program itself started
    can be ended with it.
    """

    def __init__(
        self,
        program: Program,
        *,
        home: Path,
        log: Path,
        clock: Clock,
        restarts: Restarts,
        changed: Callable[[], None],
        report: Report,
    ) -> None:
        self.program = program
        self._home = home
        self._log = log
        self._clock = clock
        self._restarts = restarts
        self._changed = changed
        self._report = report
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._seen: Seen | None = None
        self._started: str | None = None
        self._starts = 0

    def state(self) -> ProcessState:
        program = self.program
        return ProcessState(
            program.name,
            self._seen,
            program.port,
            program.address,
            self._started,
            max(0, self._starts - 1),
            str(self._log),
        )

    async def run(self) -> None:
        """Work until `stop`. Raises what `prepare` raises: then the stack can't be."""
        await asyncio.to_thread(self.program.prepare)
        deaths, loop = 0, asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            process = await self._start()
            code = await process.wait()
            self._gone(process.pid)
            if self._stopping.is_set():
                break
            deaths = self._restarts.deaths_after(deaths, loop.time() - began)
            delay = self._restarts.delay(deaths)
            again = f"starting again in {delay:g} s" if delay else "starting again"
            self._report(self.program.name, f"{_ending(code)}; {again}; its log is {self._log}")
            await self._pause(delay)

    async def stop(self, grace_seconds: float) -> None:
        """End it: with its signal, then, after the grace, with SIGKILL. Fine to call when it doesn't run."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(self.program.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), grace_seconds)
        except TimeoutError:
            self._report(self.program.name, f"has not ended within {grace_seconds:g} s; killed")
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        environment = inherited_environment() | dict(self.program.environment)
        with self._log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *self.program.command,
                env=environment | {MARK: str(self._home)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        self._process = process
        self._seen = seen(process.pid)
        self._started = rfc3339(self._clock.now())
        self._starts += 1
        self._changed()
        self._report(self.program.name, f"started with process id {process.pid}")
        if (
            self._stopping.is_set()
        ):  # asked while it was being started, when there was nothing to end
            process.send_signal(self.program.stop_signal)
        return process

    def _gone(self, pid: int) -> None:
        """Whatever the program started and left behind goes with it: it would work against its successor."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self._seen = None
        self._changed()

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until we stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
