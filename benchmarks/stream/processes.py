"""The processes of one contender: started on given cores, stopped and continued together, their processor time, their end."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from millrace_local.process import tail

_TICK = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 20.0


class ContenderFailedError(RuntimeError):
    """A contender can't be measured; the text says why."""


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


class Pinned:
    """Commands that share some cores. As a context manager: nothing of them outlives the block."""

    def __init__(self, commands: Sequence[Command], cores: Sequence[int], folder: Path) -> None:
        self._commands = commands
        self._cores = ",".join(map(str, cores))
        self._folder = folder
        self._taskset = shutil.which("taskset") or "/usr/bin/taskset"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._stack:  # what was started ends when the next can't be
            for command in self._commands:
                self._stack.callback(self._end, command.name)
                with self._log(command.name).open("ab") as output:
                    self._running[command.name] = subprocess.Popen(
                        [self._taskset, "-c", self._cores, *command.arguments],
                        env=dict(command.environment),
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                        cwd=self._folder,
                    )
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.go_on()
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        self._stack.close()

    def __len__(self) -> int:
        return len(self._commands)

    def check(self) -> None:
        """Raises ContenderFailedError with the end of the log when one of them has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise ContenderFailedError(
                    f"{name} ended with exit code {process.returncode}; the end of its log:\n{tail(self._log(name), 12)}"
                )

    def stand_still(self) -> None:
        """Stop them where they are (SIGSTOP), so that their work can be laid out before any of it is begun."""
        for process in self._running.values():
            process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time of each, with its children that have ended."""
        return {name: cpu_seconds(process.pid) for name, process in self._running.items()}

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _end(self, name: str) -> None:
        process = self._running.get(name)
        if process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):  # whatever it has started
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def cpu_seconds(pid: int) -> float:
    """utime, stime, cutime and cstime of /proc/<pid>/stat (proc(5)) added up; 0 when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()  # from the third field on: the name may hold spaces
    return sum(map(int, fields[11:15])) / _TICK
