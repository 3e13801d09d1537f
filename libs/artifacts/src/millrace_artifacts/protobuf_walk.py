"""Walking over protobuf's wire format, field by field. Long values are skipped, never copied; nothing is built.

Stricter than protobuf itself: what no writer writes is refused.
"""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from millrace_artifacts.errors import UnreadableArtifactError

_VARINT, _BYTES = 0, 2  # how a value is written
_SIZES = {1: 8, 5: 4}  # those of fixed size, in bytes
_LONGEST_VARINT = 10
_LARGEST_TAG = (1 << 32) - 1
_LONGEST_TEXT = 256

Value = int | memoryview


def walk(message: memoryview, at: int = 0) -> Iterator[tuple[int, Value, int]]:
    """A message's fields from `at` on: number, value or bytes, and where the next one begins.

    Raises UnreadableArtifactError for what is not protobuf.
    """
    end = len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if tag > _LARGEST_TAG or not number:
            raise refusal("it is not protobuf")
        value: Value
        if kind == _VARINT:
            value, at = _varint(message, at)
        elif kind in _SIZES or kind == _BYTES:
            size = _SIZES.get(kind)
            if size is None:
                size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        else:
            raise refusal("it is not protobuf")  # groups, which ONNX does not have
        if at > end:
            raise refusal("it ends in the middle")
        yield number, value, at


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """A message's fields in order: number, and value or bytes."""
    for number, value, _ in walk(message):
        yield number, value


def inside(value: Value) -> memoryview:
    """A field that holds bytes. Raises UnreadableArtifactError for one that holds a number."""
    if isinstance(value, int):
        raise refusal("a field has another type than in ONNX")
    return value


def text(value: Value) -> str:
    """A short text; a longer one is cut."""
    return bytes(inside(value)[:_LONGEST_TEXT]).decode(errors="replace")


def refusal(why: str) -> UnreadableArtifactError:
    return UnreadableArtifactError(f"not an ONNX model that training makes: {why}")


class Runs:
    """Finds values of one repeated field that stand one behind the other, at the regular expressions' own speed."""

    def __init__(self, number: int) -> None:
        self._varints = _runs(number, _VARINT, rb"[\x80-\xff]{0,9}[\x00-\x7f]")
        self._floats = _runs(number, 5, rb".{4}")

    def integers(self, message: memoryview, at: int) -> tuple[NDArray[np.int64], int] | None:
        """int64 [values], and where the run ends; None when there is none at `at`."""
        found = self._varints.match(message, at)
        return (_decoded(message[at : found.end()]), found.end()) if found else None

    def floats(self, message: memoryview, at: int) -> int | None:
        """Where a run of 4 bytes each ends; None when there is none at `at`."""
        found = self._floats.match(message, at)
        return found.end() if found else None


def _runs(number: int, kind: int, value: bytes) -> re.Pattern[bytes]:
    tag = re.escape(bytes([number << 3 | kind]))
    return re.compile(rb"(?:%b%b)++" % (tag, value), re.DOTALL)


def _decoded(run: memoryview) -> NDArray[np.int64]:
    """tag, varint, tag, varint, …: of the bytes that end something every second ends a value."""
    octets = np.frombuffer(run, dtype=np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    starts, ends = ends[0::2] + 1, ends[1::2]
    lengths = ends - starts + 1
    values = np.zeros(len(starts), dtype=np.uint64)
    for place in range(int(lengths.max())):
        reach = lengths > place
        part = (octets[starts[reach] + place] & 0x7F).astype(np.uint64)
        values[reach] |= part << np.uint64(7 * place)
    return values.view(np.int64)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number and the place behind it."""
    value = 0
    for index, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & ((1 << 64) - 1), at + index + 1
    raise refusal("it is not protobuf")
