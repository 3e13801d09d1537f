"""Tensors as bytes: the protocol's binary extension over HTTP and the raw contents of gRPC are written the same way.

Values stand row by row, little-endian, without padding. BYTES: each element is its length (4 bytes) and its content. As JSON
has `null`, bytes have NaN for a missing number and the empty text for a missing category.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace_serving.domain.errors import RequestRefusedError

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("u1"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}  # those of a fixed size; BYTES is the one that has none

_LENGTH = Struct("<I")

Values = NDArray[Any] | list[str]


@dataclass(frozen=True, slots=True)
class Raw:
    """A tensor's values as they were sent: stands in a request in the place of the JSON list."""

    content: memoryview | bytes


def decoded(raw: Raw, datatype: str, count: int, name: str) -> Values:
    """The `count` values of a tensor: [count], of its type, or the texts of a BYTES tensor. Raises RequestRefusedError."""
    if datatype == "BYTES":
        return list(_texts(raw.content, count, name))
    dtype = DATATYPES.get(datatype)
    if dtype is None:
        raise RequestRefusedError(
            f"the input {name!r} is {datatype}, which has no binary form here; send one of {', '.join(DATATYPES)} or BYTES"
        )
    if len(raw.content) != count * dtype.itemsize:
        raise RequestRefusedError(
            f"the input {name!r} has {len(raw.content)} bytes; "
            f"its shape has {count} values of {dtype.itemsize} bytes each ({datatype})"
        )
    values = np.frombuffer(raw.content, dtype)
    if datatype == "BOOL":
        if values.max(initial=0) > 1:
            raise RequestRefusedError(
                f"the input {name!r} is BOOL, of which every byte must be 0 or 1"
            )
        return values.view(np.bool_)
    return values


def encoded(datatype: str, data: Sequence[Any], name: str) -> bytes:
    """An output's values as bytes. Raises RequestRefusedError where a missing one can't be told from others."""
    if datatype == "BYTES":
        return b"".join(_element(value or "") for value in data)
    if datatype == "BOOL" and None in data:
        raise RequestRefusedError(
            f"row {list(data).index(None)} has no answer, and {name!r} is BOOL, which cannot say so in bytes: "
            "send that row alone, or ask for JSON, or for the output 'probability', which is NaN then"
        )
    return np.array(data, dtype=DATATYPES[datatype]).tobytes()  # None becomes NaN


def _element(text: str) -> bytes:
    content = text.encode()
    return _LENGTH.pack(len(content)) + content


def _texts(content: memoryview | bytes, count: int, name: str) -> Iterator[str]:
    position = 0
    for index in range(count):
        start = position + _LENGTH.size
        if start > len(content):
            raise RequestRefusedError(
                f"the input {name!r} ends before element {index} of {count}: each is a length of 4 bytes and its content"
            )
        position = start + _LENGTH.unpack_from(content, position)[0]
        if position > len(content):
            raise RequestRefusedError(
                f"element {index} of the input {name!r} is longer than the bytes that are left"
            )
        yield text_of(bytes(content[start:position]), name)
    if position != len(content):
        raise RequestRefusedError(
            f"the input {name!r} has {len(content) - position} bytes more than the {count} elements of its shape"
        )


def text_of(content: bytes, name: str) -> str:
    """An element of a BYTES tensor, which is a text here. Raises RequestRefusedError."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RequestRefusedError(
            f"the input {name!r} holds bytes that are no UTF-8; categories are texts"
        ) from error
