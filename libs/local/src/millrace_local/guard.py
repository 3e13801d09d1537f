"""Keeps a server for as long as another process lives: `python -m millrace_local.guard --watch PID ... -- COMMAND`.

The tests share servers between worker processes, none of which knows when the last one is done, and any of which may
be killed. So the server hangs on the test session's own process: when that is gone, however it went, the guard ends
the server and removes its data. SIGTERM to the guard does the same at once.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from types import FrameType

import psutil

from millrace_local.errors import LocalServerError
from millrace_local.identity import identity_of
from millrace_local.probes import wait_until
from millrace_local.server import Server
from millrace_local.settings import inherited_environment

_POLL_SECONDS = 0.3
_GRACE_SECONDS = 20.0


def launch_guarded(server: Server, *, log: Path, watch: int, remove: Path) -> int:
    """Start a prepared `server` that lives as long as process `watch`; returns the guard's process id.

    When it ends, the folder `remove` goes with it, and the one above it if nothing else is in there.
    """
    user = ["--user", server.run_as] if server.run_as else []
    options = [
        "--watch",
        str(watch),
        "--signal",
        server.stop_signal.name,
        "--remove",
        str(remove),
        *user,
    ]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        answer = subprocess.run(
            [sys.executable, "-m", "millrace_local.guard", *options, "--", *server.command()],
            env={**inherited_environment(), **server.environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd="/",
            check=True,
        )
    return int(answer.stdout)


def end_guard(guard: int, timeout: float = _GRACE_SECONDS + 5) -> None:
    """End the server of this guard, and return when both are gone."""
    if lives(guard):
        os.kill(guard, signal.SIGTERM)
    if not wait_until(lambda: not lives(guard), timeout):
        raise LocalServerError(
            f"The guard with process id {guard} did not end within {timeout:g} s: end it by hand."
        )


def main(arguments: Sequence[str]) -> None:
    """Print the guard's process id, and leave it behind in the background."""
    options = _parse(arguments)
    guard = os.fork()
    if guard:
        sys.stdout.write(f"{guard}\n")
        sys.stdout.flush()
        os._exit(0)
    os.setsid()
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # the starter waits for the end of our standard output
    _keep(options)


def _keep(options: argparse.Namespace) -> None:
    asked = Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    signal.signal(signal.SIGTERM, ask)
    with subprocess.Popen(
        options.command, cwd="/", start_new_session=True, **identity_of(options.user)
    ) as server:
        while lives(options.watch) and not asked.wait(_POLL_SECONDS):
            if server.poll() is not None:
                return  # it ended by itself: what it wrote is evidence, and stays
        server.send_signal(signal.Signals[options.signal])
        try:
            server.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
    shutil.rmtree(options.remove, ignore_errors=True)
    with suppress(OSError):  # other servers of the same session still use it
        options.remove.parent.rmdir()


def lives(pid: int) -> bool:
    """Whether a process runs; one that ended and whose parent hasn't noticed does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="millrace_local.guard")
    parser.add_argument("--watch", type=int, required=True)
    parser.add_argument("--signal", default="SIGTERM")
    parser.add_argument("--user")
    parser.add_argument("--remove", type=Path, required=True)
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
