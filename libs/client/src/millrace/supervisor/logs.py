"""One log file per process, kept small at each start of the stack."""

from collections import deque
from pathlib import Path

LARGEST_BYTES = 20_000_000
KEPT = 2


def rotate(log: Path, largest: int = LARGEST_BYTES, kept: int = KEPT) -> None:
    """Move a log that has grown too large out of the way: `x.log` becomes `x.log.1`, that one `x.log.2`, the last goes."""
    if not log.is_file() or log.stat().st_size < largest:
        return
    names = [log, *(log.with_name(f"{log.name}.{number}") for number in range(1, kept + 1))]
    for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
        if newer.is_file():
            newer.replace(older)


def tail(log: Path, lines: int = 12) -> str:
    """The last lines; empty when there is no such file."""
    if not log.is_file():
        return ""
    with log.open(errors="replace") as file:
        return "".join(deque(file, lines)).rstrip()
