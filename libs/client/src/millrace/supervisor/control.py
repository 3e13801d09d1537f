"""Starting a detached supervisor, waiting for its stack, and ending it: by process id, and only what is of this home."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import psutil

from millrace.errors import ClientError
from millrace.settings import SERVICES, Settings, inherited_environment
from millrace.supervisor import stack_file
from millrace.supervisor.logs import rotate, tail
from millrace.supervisor.program import Program
from millrace.supervisor.stack_file import MARK, Seen, Stack
from millrace_local.probes import wait_until

_PAUSE_SECONDS = 0.1
_STOP_SECONDS = 90.0
_LEFTOVER_SECONDS = 25.0
_MOST_RESTARTS = 3

Ready = Callable[[str, float], None]  # (program, seconds since the start of waiting)


def running_stack(settings: Settings) -> Stack | None:
    """The stack of this home, if its supervisor lives."""
    stack = stack_file.read(settings.stack_file)
    return stack if stack is not None and stack.lives else None


def launch(settings: Settings, only: Collection[str]) -> Seen:
    """Start a supervisor in a session of its own; it outlives this process and its terminal."""
    log = settings.logs / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "millrace.supervisor", *only],
            env=inherited_environment() | {MARK: str(settings.home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return stack_file.seen(process.pid)


def wait_ready(
    settings: Settings,
    supervisor: Seen,
    programs: Sequence[Program],
    *,
    timeout: float,
    became_ready: Ready,
) -> None:
    """Return when every program does its work. Raises ClientError with the end of a log when that can't be expected."""
    began = time.monotonic()
    waiting = list(programs)
    while waiting:
        for program in list(waiting):
            if program.ready():
                waiting.remove(program)
                became_ready(program.name, time.monotonic() - began)
        _refuse_hopeless(settings, supervisor, waiting)
        if waiting and time.monotonic() - began > timeout:
            first = waiting[0].name
            raise ClientError(
                f"{', '.join(program.name for program in waiting)} not ready within {timeout:g} s; "
                f"the end of {first}'s log:\n{tail(settings.logs / f'{first}.log')}"
            )
        time.sleep(_PAUSE_SECONDS)


def end_stack(settings: Settings, report: Callable[[str], None]) -> int:
    """End what belongs to this home, whoever started it; how many processes that were.

    A living supervisor ends its own. What a killed one left behind is known by `stack.json`, or by the home that each
    process of a stack carries in its environment.
    """
    stack = stack_file.read(settings.stack_file)
    ended = 0
    if stack is not None and stack.lives:
        ended += 1 + sum(process.lives for process in stack.processes)
        report(f"ending {ended} processes")
        _end([stack.supervisor], signal.SIGTERM, _STOP_SECONDS)
    left = leftovers(settings, stack)
    if left:
        report(f"ending {len(left)} processes that a killed supervisor left behind")
        services = [seen for name, seen in left if name in SERVICES]
        others = [seen for name, seen in left if name not in SERVICES]
        for group in (services, others):
            _end(group, signal.SIGTERM, _LEFTOVER_SECONDS)
    settings.stack_file.unlink(missing_ok=True)
    return ended + len(left)


def leftovers(settings: Settings, stack: Stack | None) -> list[tuple[str, Seen]]:
    """Living processes of this home's stack, with the names of those that are known. Never ourselves or our parents."""
    found: dict[int, tuple[str, Seen]] = {}
    if stack is not None:
        for process in stack.processes:
            if process.process is not None and process.process.lives():
                found[process.process.pid] = (process.name, process.process)
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for candidate in psutil.process_iter():
        if candidate.pid in mine or candidate.pid in found:
            continue
        with suppress(psutil.Error, OSError):
            if candidate.environ().get(MARK) == str(settings.home):
                seen = Seen(candidate.pid, candidate.create_time())
                if seen.lives():
                    found[candidate.pid] = ("", seen)
    return list(found.values())


def _end(group: Sequence[Seen], number: signal.Signals, seconds: float) -> None:
    """Ask these processes to end, and kill those that have not after a while."""
    for each in group:
        _send(each, number)
    if wait_until(lambda: not any(each.lives() for each in group), seconds):
        return
    for each in group:
        _send(each, signal.SIGKILL)
    wait_until(lambda: not any(each.lives() for each in group), seconds)


def _send(target: Seen, number: signal.Signals) -> None:
    process = target.process()
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _refuse_hopeless(settings: Settings, supervisor: Seen, waiting: Sequence[Program]) -> None:
    if not supervisor.lives():
        raise ClientError(
            f"the supervisor ended; the end of its log:\n{tail(settings.logs / 'supervisor.log', 3)}"
        )
    stack = stack_file.read(settings.stack_file)
    for program in waiting:
        state = stack.of(program.name) if stack else None
        if state is not None and state.restarts >= _MOST_RESTARTS:
            raise ClientError(
                f"{program.name} keeps ending; the end of its log {state.log}:\n{tail(settings.logs / f'{program.name}.log')}"
            )
