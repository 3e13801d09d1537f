"""`stack.json`: what runs, for whoever asks. Replaced as a whole on each change, never half-written."""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

MARK = "MILLRACE_STACK"  # in the environment of every process of a stack: the home it belongs to
_SAME_SECONDS = 2.0  # a start time is computed from the boot time, which clocks adjust


@dataclass(frozen=True, slots=True)
class Seen:
    """A process, known by its id and its start: ids are used again, both together are not."""

    pid: int
    created: float

    def lives(self) -> bool:
        """Whether this very process still runs; one that has ended and was not yet waited for does not."""
        process = self.process()
        try:
            return process is not None and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def process(self) -> psutil.Process | None:
        """The process itself, None when it has ended."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < _SAME_SECONDS
        except psutil.NoSuchProcess:
            return None
        return process if same else None


def seen(pid: int) -> Seen:
    """The process that has this id now; one that has ended already never lives."""
    try:
        return Seen(pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return Seen(pid, 0.0)


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process. `process` is None while it is not running."""

    name: str
    process: Seen | None
    port: int
    address: str
    started: str | None
    restarts: int
    log: str

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.lives()


@dataclass(frozen=True, slots=True)
class Stack:
    home: str
    supervisor: Seen
    started: str
    bootstrap: str
    tracing_ui: str | None
    processes: tuple[ProcessState, ...]

    @property
    def lives(self) -> bool:
        return self.supervisor.lives()

    def of(self, name: str) -> ProcessState | None:
        return next((process for process in self.processes if process.name == name), None)


def write(path: Path, stack: Stack) -> None:
    """Replace the file: whoever reads it sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(stack), indent=2))
    temporary.replace(path)


def read(path: Path) -> Stack | None:
    """None when there is none, or one that this version does not understand."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Stack)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
