"""Remembers which member of a consumer group this process was, so that its successor can say goodbye for it.

A process that is killed leaves its group only when its session times out, and until then its partitions have no reader.
Whoever starts again in the same place knows better: the file's lock went with the process that held it, so the member
named in the file is dead, and the group may give its partitions away at once. Static membership (KIP-345) would do
that too, but keeps the dead member's subscription: topics that were added meanwhile would have no reader.
"""

import fcntl
from pathlib import Path
from typing import IO


class Membership:
    """One group's member in one place, known by a file. `hold` it before reading or writing; `release` when leaving."""

    def __init__(self, folder: Path, group: str) -> None:
        self.group = group
        self._path = folder / f"{group}.member"
        self._file: IO[str] | None = None

    def hold(self) -> bool:
        """Whether this is the place's only living member of the group: False when another one holds the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def predecessor(self) -> str | None:
        """The member that held the place before and did not leave its group itself, if any."""
        assert self._file is not None, "hold it first"
        self._file.seek(0)
        return self._file.read() or None

    def remember(self, member: str) -> None:
        """From now on a successor says goodbye for this one. Torn by a kill, it names nobody, and nothing is lost."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.write(member)
            self._file.flush()

    def release(self) -> None:
        if self._file is not None:
            self._file.close()  # with it goes the lock
            self._file = None
