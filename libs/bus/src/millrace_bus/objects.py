"""The newest objects of a store, decoded, in memory: as many as fit into so many bytes, however large each is."""

import threading
from collections.abc import Iterable
from typing import Any

ABSENT = object()
MOST_BYTES = 128 << 20  # of all stores of a process together

_OBJECT_BYTES = 400  # an object and its key, without what they hold
_EXPANSION = 4  # a number of eight bytes is a float of 24 and a reference to it


class Room:
    """Shared by the stores of one process: each may fill an equal part."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.sharers = 0
        self._changing = threading.Lock()  # stores are opened in threads

    def join(self) -> None:
        with self._changing:
            self.sharers += 1

    def leave(self) -> None:
        with self._changing:
            self.sharers -= 1

    @property
    def share(self) -> int:
        return self.most_bytes // max(1, self.sharers)


PROCESS = Room()


class Objects:
    """Oldest first out. Sizes are told in bytes of the encoding, from which those in memory are estimated."""

    def __init__(self, room: Room = PROCESS) -> None:
        self._room = room
        self._values: dict[bytes, Any] = {}  # dicts keep the order of insertion
        self._sizes: dict[bytes, int] = {}
        self.bytes = 0
        self._is_open = True
        self.get = self._values.get
        room.join()

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: bytes, value: Any, encoded_bytes: int) -> None:
        """As the newest. What is put stays until `make_room`, or another `put` or `forget` of its key."""
        self.forget(key)
        size = _OBJECT_BYTES + len(key) + _EXPANSION * encoded_bytes
        self._values[key] = value
        self._sizes[key] = size
        self.bytes += size

    def forget(self, key: bytes) -> None:
        size = self._sizes.pop(key, None)
        if size is not None:
            del self._values[key]
            self.bytes -= size

    def make_room(self) -> None:
        """Let go of the oldest when the share is full: of a quarter, so that it need not be done each time."""
        share = self._room.share
        if self.bytes <= share:
            return
        goal = share * 3 // 4
        for key in self._oldest_beyond(goal):
            self.forget(key)

    def _oldest_beyond(self, goal: int) -> Iterable[bytes]:
        left, found = self.bytes, []
        for key, size in self._sizes.items():
            if left <= goal:
                break
            found.append(key)
            left -= size
        return found

    def close(self) -> None:
        """Give the share back. Fine to call again."""
        self._values.clear()
        self._sizes.clear()
        self.bytes = 0
        if self._is_open:
            self._is_open = False
            self._room.leave()
