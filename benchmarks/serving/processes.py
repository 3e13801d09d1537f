"""A server on one core: all processes that it starts, their processor time, and their end."""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from millrace_local.process import tail

_MARK = "BENCH_SERVING_MARK"
_TICK = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 20.0
_INSIST_SECONDS = 3.0
_POLL_SECONDS = 0.1


class ContenderFailedError(RuntimeError):
    """A contender can't be measured; the text says why."""


class PinnedServer:
    """A command with all its descendants on `core`. As a context manager: nothing of it outlives the block.

    Descendants are known by a mark in their environment, which also those carry that have left the process tree.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        core: int,
        log: Path,
    ) -> None:
        self._name = name
        self._command = ["taskset", "-c", str(core), *command]
        self._mark = f"{_MARK}={secrets.token_hex(8)}"
        key, _, value = self._mark.partition("=")
        self._environment = {**environment, key: value}
        self._core = core
        self._log = log

    def __enter__(self) -> Self:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._log.parent,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask the first process to end, then end what is left."""
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        for number in (signal.SIGTERM, signal.SIGKILL):
            left = self.family()
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + _INSIST_SECONDS
            while self.family() and time.monotonic() < deadline:
                self._process.poll()
                time.sleep(_POLL_SECONDS)
        self._process.wait()

    def check(self) -> None:
        """Raises ContenderFailedError with the end of the log when the server has ended."""
        if self._process.poll() is not None:
            raise self.failure(f"ended with exit code {self._process.returncode}")

    def failure(self, what: str) -> ContenderFailedError:
        return ContenderFailedError(
            f"{self._name} {what}; the end of its log:\n{tail(self._log, 8)}"
        )

    def family(self) -> list[int]:
        """The ids of all its processes that live."""
        mark = self._mark.encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(OSError):  # ended meanwhile, or another user's
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def pin(self) -> None:
        """Bring back the threads that a library has put on another core."""
        for pid in self.family():
            with suppress(OSError):
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), {self._core})

    def cpu_seconds(self) -> float:
        """User and system time of all its processes, and of their children that have ended."""
        return ticks_to_seconds(sum(cpu_ticks(pid) for pid in self.family()))


def ticks_to_seconds(ticks: int) -> float:
    return ticks / _TICK


def cpu_ticks(pid: int) -> int:
    """utime, stime, cutime and cstime of /proc/<pid>/stat (proc(5)) added up; 0 when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()  # from the third field on: the name may hold spaces
    return sum(map(int, fields[11:15]))
