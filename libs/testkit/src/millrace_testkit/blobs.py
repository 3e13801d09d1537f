"""Blobs in memory: the second implementation of `millrace_bus.blobs.Blobs`, whose failures and whose clock tests choose."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from typing_extensions import override

from millrace_bus.blobs import Blobs
from millrace_kernel.time import SECOND, Instant

PART_BYTES = 64 << 10


def no_fault(errand: str, key: str) -> None:
    """All goes well."""


class MemoryBlobs(Blobs):
    """`fault(errand, key)` may raise TransientError before anything is done. Errands: put, get, list, delete.

    Each write takes a second by its clock. `content` and `written` are there to look at and to damage.
    """

    def __init__(self, *, fault: Callable[[str, str], None] = no_fault) -> None:
        self.fault = fault
        self.content: dict[str, bytes] = {}
        self.written: dict[str, Instant] = {}
        self.puts: list[str] = []
        self.now = Instant(0)
        self._lock = threading.Lock()

    @override
    def put(self, key: str, content: bytes | Path) -> None:
        self.fault("put", key)
        whole = content.read_bytes() if isinstance(content, Path) else content
        with self._lock:
            self.now = Instant(self.now + SECOND)
            self.content[key], self.written[key] = whole, self.now
            self.puts.append(key)

    @override
    def get(self, key: str) -> Iterator[bytes] | None:
        self.fault("get", key)
        whole = self.content.get(key)
        if whole is None:
            return None
        return (whole[at : at + PART_BYTES] for at in range(0, len(whole), PART_BYTES))

    @override
    def list(self, folder: str) -> Mapping[str, tuple[int, Instant]]:
        self.fault("list", folder)
        with self._lock:
            return {
                key: (len(whole), self.written[key])
                for key, whole in self.content.items()
                if key.startswith(f"{folder}/")
            }

    @override
    def delete(self, keys: Collection[str]) -> None:
        for key in keys:
            self.fault("delete", key)
            with self._lock:
                self.content.pop(key, None)
                self.written.pop(key, None)
