"""Records on disk while the broker is away: segments, each on the disk as a whole before it counts, read back in order."""

import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from millrace_contracts.message import Outgoing
from millrace_kernel.time import Instant

logger = logging.getLogger(__name__)

_SUFFIX = ".answers"
_HEAD = struct.Struct("<II")  # before each record: its length, and the CRC-32 of its bytes
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Outgoing).decode


class SpillFullError(OSError):
    """There is no room for these records: the limit is reached, or the disk is full or refuses them."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A file with the records of one start of an instance, from number `first` up to, and without, `end`."""

    path: Path
    started: Instant
    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first


class Spill:
    """The segments of one instance, in a folder that nobody else uses. Every call blocks on the disk."""

    def __init__(self, folder: Path, limit: int) -> None:
        """`limit`: bytes that all segments together may have. What an earlier start has left is in `leftovers`."""
        self._folder = folder
        self._limit = limit
        self._sizes: dict[Path, int] = {}
        self.leftovers = self._found()

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(tuple(self._sizes.values()))

    def _found(self) -> list[Segment]:
        """Segments of earlier starts, oldest first."""
        found = []
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            started, first = map(int, path.name.removesuffix(_SUFFIX).split("-"))
            count = sum(1 for _ in _framed_in(path))
            found.append(Segment(path, Instant(started), first, first + count))
            self._sizes[path] = path.stat().st_size
        return found

    def write(self, started: Instant, first: int, records: Sequence[Outgoing]) -> Segment:
        """Put records on the disk: when this returns, they outlive the process and the machine's power.

        Raises SpillFullError; then nothing is left of them.
        """
        content = b"".join(_framed(record) for record in records)
        if self.size + len(content) > self._limit:
            raise SpillFullError(
                f"{len(records)} answers more than the {self._limit} bytes of SERVING_SPILL_BYTES have room for"
            )
        path = self._folder / f"{started:020d}-{first:016d}{_SUFFIX}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._sync_folder()
        except OSError as error:
            path.unlink(missing_ok=True)
            raise SpillFullError(f"cannot write {path}: {error}") from error
        self._sizes[path] = len(content)
        return Segment(path, started, first, first + len(records))

    def read(self, segment: Segment) -> list[Outgoing]:
        """Its records, in order; up to the first that is damaged, for a kill may have come while they were written."""
        return list(map(_decode, _framed_in(segment.path)))

    def remove(self, segment: Segment) -> None:
        """Its records have been acknowledged."""
        segment.path.unlink(missing_ok=True)
        self._sizes.pop(segment.path, None)

    def _sync_folder(self) -> None:
        """A file's name is on the disk only when its folder is."""
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _framed(record: Outgoing) -> bytes:
    content = _encode(record)
    return _HEAD.pack(len(content), zlib.crc32(content)) + content


def _framed_in(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    start = 0
    while start < len(content):
        record = _record_at(content, start)
        if record is None:
            logger.warning(
                "the end of a spilled segment was never written in full; what stands before it is sent",
                extra={"path": str(path), "bytes": len(content) - start},
            )
            return
        yield record
        start += _HEAD.size + len(record)


def _record_at(content: bytes, start: int) -> bytes | None:
    if len(content) < start + _HEAD.size:
        return None
    length, checksum = _HEAD.unpack_from(content, start)
    record = content[start + _HEAD.size : start + _HEAD.size + length]
    return record if len(record) == length and zlib.crc32(record) == checksum else None
