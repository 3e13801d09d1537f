"""Processes that are killed, stopped and started again: each kept running by a task of its own until told otherwise."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from millrace_local.identity import identity_of

_GRACE_SECONDS = 15.0
_SLOW_RESTART_SECONDS = 0.5  # after a process that ended by itself: the disk may still be full


@dataclass(frozen=True, slots=True)
class Command:
    words: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    run_as: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(slots=True)
class Managed:
    """One process, started again at once when it dies, unless it is held down."""

    name: str
    command: Command
    log: Path
    starts: int = 0
    kills: int = 0
    exits: list[int] = field(default_factory=list)
    """Exit codes of those that ended by themselves: not killed by us, not asked to stop."""
    died_at: float = 0.0
    """When the newest death was, by the event loop's clock."""
    started: asyncio.Event = field(default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = None
    _keeper: asyncio.Task[None] | None = None
    _stopping: bool = False
    _may_start: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        self._may_start.set()
        if self._keeper is None:
            self._keeper = asyncio.ensure_future(self._keep())
        await self.started.wait()

    async def kill(self, *, hold_down: bool = False) -> None:
        """SIGKILL to it and to whatever it started; it comes back at once, unless it is held down."""
        if hold_down:
            self._may_start.clear()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.kills += 1
        self.started.clear()
        for child in _family(process.pid):
            with suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGKILL)
        await process.wait()
        if not hold_down:
            await self.started.wait()

    def hold_down(self) -> None:
        """It will not be started again when it dies, until `start`."""
        self._may_start.clear()

    async def death(self) -> None:
        """Wait until it has died of itself."""
        if self._process is not None:
            await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def stop(self) -> None:
        """End it for good: asked, then insisted upon."""
        self._stopping = True
        self._may_start.set()
        process = self._process
        if process is not None and process.returncode is None:
            self.send(signal.SIGCONT)
            self.send(self.command.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
            except TimeoutError:
                for child in _family(process.pid):
                    with suppress(psutil.NoSuchProcess):
                        child.kill()
                await process.wait()
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper

    async def _keep(self) -> None:
        while not self._stopping:
            await self._may_start.wait()
            if self._stopping:
                return
            process = await self._launch()
            code = await process.wait()
            self.died_at = asyncio.get_running_loop().time()
            _end_group(process.pid)
            if code != -signal.SIGKILL and not self._stopping:
                self.exits.append(code)
                self.started.clear()
                await asyncio.sleep(_SLOW_RESTART_SECONDS)

    async def _launch(self) -> asyncio.subprocess.Process:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.command.words,
                env=dict(self.command.environment),
                cwd=self.command.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                **identity_of(self.command.run_as),
            )
        self.starts += 1
        self.started.set()
        return self._process


def _family(pid: int) -> list[psutil.Process]:
    """A process and its descendants (PostgreSQL's have groups of their own), children first so that none is orphaned."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _end_group(pid: int) -> None:
    """Whatever it started and left behind goes with it, as `millrace up` has it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
