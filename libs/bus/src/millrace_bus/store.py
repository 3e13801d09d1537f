"""The state of one input partition: a RocksDB of its own, so that a partition can move with its state.

Keys are one byte of kind and the rest: `p` the position, `f` + source the fence, `s` + key the service's own state.
State, position and fences change in one WriteBatch or not at all.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from millrace_bus.objects import ABSENT, PROCESS, Objects
from millrace_kernel.errors import MillraceError

logger = logging.getLogger(__name__)

_POSITION = b"p"
_FENCE = b"f"
_STATE = b"s"
_WRITE_BUFFER_BYTES = 16 << 20
_FILE_BYTES = 16 << 20  # small: files that a compaction leaves alone are not sent again
_OPEN_FILES = 64
_BLOOM_BITS = 10

# One process has many partitions, and these two bound what RocksDB keeps in memory for all of them together: blocks,
# indexes and filters in the cache, writes not yet on disk in the buffers, which are charged to the cache.
MEMORY_BYTES = 192 << 20
_CACHE = Cache(MEMORY_BYTES)
_BUFFERS = WriteBufferManager.new_write_buffer_manager_with_cache(
    MEMORY_BYTES // 2, allow_stall=False, cache=_CACHE
)


class StateInUseError(MillraceError):
    """Another process has this state folder open."""


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
        value = self._changed.get(key, ABSENT)
        return self._load(key) if value is ABSENT else value

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
        self._database = _opened(folder)
        self._is_open = True
        self._closing = threading.Lock()  # checkpoints are taken in a thread: not closed meanwhile
        self._no_wait = WriteOptions()
        self._codec = codec
        self.objects = Objects(PROCESS)
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
        encode, objects = self._codec.encode, self.objects
        encoded: dict[bytes, int] = {}
        for key, value in state.changes.items():
            if value is None:
                batch.delete(_STATE + key)
            else:
                content = encode(value)
                encoded[key] = len(content)
                batch.put(_STATE + key, content)
        for source, sequence in fences.items():
            batch.put(_FENCE + source, sequence)
        batch.put(_POSITION, str(position).encode())
        self._database.write(batch, self._no_wait)
        self.position = position
        self.fences.update(fences)
        for key, value in state.changes.items():
            if value is None:
                objects.forget(key)
            else:
                objects.put(key, value, encoded[key])
        objects.make_room()

    def flush_soon(self) -> None:
        """Have what was written brought into files in the background, so that a checkpoint has little left to do."""
        with self._closing:
            if self._is_open:
                self._database.flush(wait=False)

    def checkpoint(self, folder: Path) -> int | None:
        """Make `folder` (which must not exist) a copy of the state as of now, by hard links; its position.

        It is consistent by itself: commits may go on in another thread. None when closed, or nothing was ever committed.
        """
        with self._closing:
            if not self._is_open:
                return None
            Checkpoint(self._database).create_checkpoint(str(folder))
        return stored_position(folder)

    def close(self) -> None:
        with self._closing:
            if self._is_open:
                self._is_open = False
                self._database.close()
                self.objects.close()

    def _load(self, key: bytes) -> Any:
        value = self.objects.get(key, ABSENT)
        if value is ABSENT:
            content = self._database.get(_STATE + key)
            if content is None:
                return None
            value = self._codec.decode(content)
            self.objects.put(key, value, len(content))
            self.objects.make_room()
        return value

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


def stored_position(folder: Path) -> int | None:
    """The position in a state folder that nobody writes to; RocksDB's own Exception when it is none."""
    database = Rdict(str(folder), _options(), access_type=AccessType.read_only(False))
    try:
        stored = database.get(_POSITION)
        return None if stored is None else int(stored)
    finally:
        database.close()


def _opened(folder: Path) -> Rdict:
    try:
        return Rdict(str(folder), _options())
    except Exception as error:  # RocksDB has no class of its own for a lock that is held
        if "LOCK" not in str(error):
            raise
        raise StateInUseError(
            f"{folder} is used by another process; give each instance of a service on one machine "
            f"a MILLRACE_INSTANCE of its own ({error})"
        ) from error


def _options() -> Options:
    """RocksDB's defaults suit one big database on a server; these suit one for each partition, many on a machine."""
    blocks = BlockBasedOptions()
    blocks.set_block_cache(_CACHE)
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_bloom_filter(_BLOOM_BITS, block_based=False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_manager(_BUFFERS)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_target_file_size_base(_FILE_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    options.set_max_open_files(_OPEN_FILES)
    return options
