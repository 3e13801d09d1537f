"""The state of one input partition: a RocksDB of its own, so that a partition can move with its state.

Keys are one byte of kind and the rest: `p` the position, `f` + source the fence, `s` + key the service's own state.
State, position and fences change in one WriteBatch or not at all.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from rocksdict import Options, Rdict, WriteBatch, WriteOptions

logger = logging.getLogger(__name__)

_POSITION = b"p"
_FENCE = b"f"
_STATE = b"s"
_ABSENT = object()
_CACHE_OBJECTS = 50_000
_WRITE_BUFFER_BYTES = 16 << 20


class Codec(Protocol):
    """How a service's state objects become bytes. `decode(encode(x)) == x`, and equal objects give equal bytes."""

    def encode(self, value: Any) -> bytes: ...
    def decode(self, content: bytes) -> Any: ...


class Bytes:
    """The codec of a service whose state is bytes already."""

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, content: bytes) -> bytes:
        return content


class State:
    """What a handler sees: get, put, delete. Objects are values: never change one that was got, put a new one."""

    __slots__ = ("_changed", "_load", "_scan")

    def __init__(
        self, load: Callable[[bytes], Any], scan: Callable[[bytes], Iterator[tuple[bytes, Any]]]
    ) -> None:
        self._load = load
        self._scan = scan
        self._changed: dict[bytes, Any] = {}

    def get(self, key: bytes) -> Any:
        """The object, or None."""
        value = self._changed.get(key, _ABSENT)
        return self._load(key) if value is _ABSENT else value

    def put(self, key: bytes, value: Any) -> None:
        if value is None:
            raise ValueError("None means absent; delete the key instead")
        self._changed[key] = value

    def delete(self, key: bytes) -> None:
        self._changed[key] = None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, Any]]:
        """Everything committed under a prefix, in key order; changes of the batch under way are not in it."""
        return self._scan(prefix)

    @property
    def changes(self) -> dict[bytes, Any]:
        return self._changed


class PartitionStore:
    """One partition's state on disk, and its newest objects in memory."""

    def __init__(self, folder: Path, codec: Codec) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._database = Rdict(str(folder), _options())
        self._no_wait = WriteOptions()
        self._codec = codec
        self._cache: dict[bytes, Any] = {}
        stored = self._database.get(_POSITION)
        self.position: int | None = None if stored is None else int(stored)
        """The next offset to be read; None: nothing has been committed yet."""
        self.fences: dict[bytes, bytes] = {
            bytes(key[1:]): bytes(value) for key, value in self._with_prefix(_FENCE)
        }

    def state(self) -> State:
        return State(self._load, self._scan)

    def commit(self, position: int, fences: dict[bytes, bytes], state: State) -> None:
        """Write the outcome of one batch as one. A kill leaves the store before it or after it, never between."""
        batch = WriteBatch(raw_mode=True)
        encode = self._codec.encode
        for key, value in state.changes.items():
            if value is None:
                batch.delete(_STATE + key)
            else:
                batch.put(_STATE + key, encode(value))
        for source, sequence in fences.items():
            batch.put(_FENCE + source, sequence)
        batch.put(_POSITION, str(position).encode())
        self._database.write(batch, self._no_wait)
        self.position = position
        self.fences.update(fences)
        self._remember(state.changes)

    def close(self) -> None:
        self._database.close()

    def _load(self, key: bytes) -> Any:
        value = self._cache.get(key, _ABSENT)
        if value is _ABSENT:
            content = self._database.get(_STATE + key)
            value = None if content is None else self._codec.decode(content)
            if value is not None:
                self._cache[key] = value
        return value

    def _remember(self, changes: dict[bytes, Any]) -> None:
        if len(self._cache) > _CACHE_OBJECTS:
            # oldest first: dicts keep the order of insertion, and whatever is used is put in again below
            for key in list(self._cache)[: _CACHE_OBJECTS // 4]:
                del self._cache[key]
        for key, value in changes.items():
            self._cache.pop(key, None)
            if value is not None:
                self._cache[key] = value

    def _scan(self, prefix: bytes) -> Iterator[tuple[bytes, Any]]:
        for key, value in self._with_prefix(_STATE + prefix):
            yield bytes(key[1:]), self._codec.decode(bytes(value))

    def _with_prefix(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        items: Iterable[tuple[Any, Any]] = self._database.items(
            from_key=prefix
        )  # bytes, in raw mode
        for key, value in items:
            if not key.startswith(prefix):
                return
            yield bytes(key), bytes(value)


def _options() -> Options:
    """RocksDB's defaults suit one big database on a server; these suit one for each partition, many on a machine."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    options.set_max_open_files(64)
    return options
