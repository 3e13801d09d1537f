"""A process and all that it has started: looked at, and ended together.

A program that somebody else wrote may start others, leave them behind and make them leaders of sessions of their own. What
still hangs together by parents is found in /proc; so that it goes on hanging together, whoever runs such a program adopts
its orphans (PR_SET_CHILD_SUBREAPER), which would else become children of init.
"""

import contextlib
import ctypes
import os
import resource
import signal
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = resource.getpagesize()
_ZOMBIE = "Z"
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux
_LOOKS_SECONDS = 0.02
GRACE_SECONDS = 2.0  # from the request to end to the end; a container's client hands the request on


@dataclass(frozen=True, slots=True)
class Member:
    """A process. `pid` and `began` (clock ticks since the machine started) are no other's, ever.

    `cpu_seconds` are its own and those of its children that have ended and were waited for; `resident_bytes` count memory
    that it shares with others in full.
    """

    pid: int
    began: int
    parent: int
    ended: bool  # nobody has waited for it yet
    cpu_seconds: float
    resident_bytes: int


def family_of(pids: Collection[int], proc: Path = _PROC) -> list[Member]:
    """These processes, as far as they are there, and all below them, the ones that have ended included."""
    everybody = list(_everybody(proc))
    found = {each.pid: each for each in everybody if each.pid in pids}
    grown = True
    while grown:
        more = [each for each in everybody if each.parent in found and each.pid not in found]
        found |= {each.pid: each for each in more}
        grown = bool(more)
    return list(found.values())


def children_of(pid: int, proc: Path = _PROC) -> list[Member]:
    return [each for each in _everybody(proc) if each.parent == pid]


def end_all(members: Iterable[Member], grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask these processes to end, and end those that have not by then. What the kernel holds on to is not waited for long."""
    going = _still_going(members)
    for what in (signal.SIGTERM, signal.SIGKILL):
        _send(going, what)
        sent = time.monotonic()
        while going and time.monotonic() - sent < grace_seconds:
            time.sleep(_LOOKS_SECONDS)
            going = _still_going(going)


def end_group(pid: int) -> None:
    """Kill what is left of the group that this process leads, or led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Orphans below this process become its children, for the length of a block. Where the machine can't, they don't."""
    _adopt(True)
    try:
        yield
    finally:
        _adopt(False)


def _adopt(yes: bool) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, int(yes), 0, 0, 0)


def _everybody(proc: Path) -> Iterator[Member]:
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            member = _member(folder)
            if member is not None:
                yield member


def _member(folder: Path) -> Member | None:
    """None for one that is not there any more."""
    try:
        # the name, which may hold spaces and brackets, ends at the last bracket
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return Member(
        pid=int(folder.name),
        began=int(fields[19]),
        parent=int(fields[1]),
        ended=fields[0] == _ZOMBIE,
        cpu_seconds=sum(map(int, fields[11:15])) / _TICKS,
        resident_bytes=int(fields[21]) * _PAGE,
    )


def _still_going(members: Iterable[Member]) -> list[Member]:
    now = ((each, _member(_PROC / str(each.pid))) for each in members)
    return [
        each
        for each, found in now
        if found is not None and found.began == each.began and not found.ended
    ]


def _send(members: Iterable[Member], what: signal.Signals) -> None:
    for each in members:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each.pid, what)
