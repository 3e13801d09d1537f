"""Starts a server, waits until it answers, and ends it by its process id."""

import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from millrace_local.errors import LocalServerError
from millrace_local.identity import identity_of
from millrace_local.server import Server
from millrace_local.settings import inherited_environment

_POLL_SECONDS = 0.5
_LOG_LINES = 15


@dataclass(slots=True)
class RunningServer:
    """A server that we started. As a context manager, it ends with the block."""

    server: Server
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_ready(self, timeout: float) -> None:
        """Return as soon as it answers; an error with the end of its log when it ends or `timeout` seconds pass."""
        deadline = time.monotonic() + timeout
        while not self.server.ready(_POLL_SECONDS):
            if not self.alive:
                raise LocalServerError(
                    self._failure(f"ended with exit code {self.process.returncode}")
                )
            if time.monotonic() >= deadline:
                raise LocalServerError(self._failure(f"did not answer within {timeout:g} s"))

    def stop(self, timeout: float = 20.0) -> None:
        """Ask it to end, and insist when it hasn't after `timeout` seconds. Fine to call when it has ended."""
        if self.alive:
            self.process.send_signal(self.server.stop_signal)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _failure(self, what: str) -> str:
        return f"{self.server.name} {what}; its log is {self.log}:\n{tail(self.log)}"


def start(server: Server, log: Path, timeout: float = 60.0) -> RunningServer:
    """Prepare and start `server`, its output going to `log`, and return once it answers."""
    server.prepare()
    running = launch(server, log)
    try:
        running.wait_ready(timeout)
    except BaseException:  # also Ctrl-C: nothing that we started may stay behind
        running.stop()
        raise
    return running


def launch(server: Server, log: Path) -> RunningServer:
    """Start a prepared `server` in a session of its own (Ctrl-C is ours, not its), without waiting."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            server.command(),
            env={**inherited_environment(), **server.environment()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            **identity_of(server.run_as),
        )
    return RunningServer(server, process, log)


def tail(log: Path, lines: int = _LOG_LINES) -> str:
    """The last lines of a log file; empty when there is none."""
    if not log.is_file():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
