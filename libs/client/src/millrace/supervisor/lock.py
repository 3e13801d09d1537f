"""One supervisor per home: whoever holds the lock is it, and a process that dies lets go of it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from millrace.errors import ClientError


@contextmanager
def only_supervisor(home: Path) -> Iterator[None]:
    """Hold the home's lock. Raises ClientError when another process holds it."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "stack.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClientError(
                f"another supervisor keeps the stack of {home}: `millrace status` shows it"
            ) from None
        yield
