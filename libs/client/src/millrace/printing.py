"""Bytes that nobody vouches for, as they may be printed: decoded when they can be, never too long, never a command to a terminal."""

from collections.abc import Iterator
from typing import Any

import orjson
from google.protobuf.message import DecodeError

from millrace.letters import Letter
from millrace.wire import event_classes, fields_of

_LONGEST_TEXT = 20_000  # characters
_HEX_BYTES, _HEX_WIDTH = 4_096, 16


def printable(text: str) -> str:
    """The text with what is no letter, sign or space told by its number: nothing moves a cursor or hides a word."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def value_said(letter: Letter) -> dict[str, Any]:
    """The value as plain data: what it was read as, and what it says."""
    read_as, content = _read(letter)
    if read_as == "hex":
        content = (letter.value or b"")[:_HEX_BYTES].hex()
    return {"as": read_as, "content": content, "bytes": letter.size}


def value_lines(letter: Letter) -> Iterator[str]:
    """The value for people."""
    read_as, content = _read(letter)
    if read_as == "hex":
        yield from _hex(letter.value or b"")
    elif content is None:
        yield "(none: a tombstone)"
    else:
        text = orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
        yield from (printable(line) for line in text[:_LONGEST_TEXT].splitlines())
        if len(text) > _LONGEST_TEXT:
            yield f"... {len(text) - _LONGEST_TEXT} characters more"


def _read(letter: Letter) -> tuple[str, Any]:
    if letter.value is None:
        return "nothing", None
    kind = event_classes().get(letter.text("ce_type"))
    try:
        if kind is not None:
            return letter.text("ce_type"), _jsonable(fields_of(kind.FromString(letter.value)))
        content = orjson.loads(letter.value)
        orjson.dumps(content)  # it reads deeper than it writes
    except (DecodeError, ValueError, TypeError, KeyError):
        return "hex", None
    return "json", content


def _jsonable(value: Any) -> Any:  # noqa: ANN401  whatever a message holds
    if isinstance(value, bytes):
        return printable(value[:_HEX_BYTES].decode("utf-8", "backslashreplace"))
    if isinstance(value, dict):
        return {str(name): _jsonable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_jsonable(each) for each in value]
    return value


def _hex(value: bytes) -> Iterator[str]:
    for start in range(0, min(len(value), _HEX_BYTES), _HEX_WIDTH):
        row = value[start : start + _HEX_WIDTH]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{start:08x}  {row.hex(' '):<{_HEX_WIDTH * 3}} {text}"
    if len(value) > _HEX_BYTES:
        yield f"... {len(value) - _HEX_BYTES} bytes more"
    if not value:
        yield "(empty)"


def _escaped(char: str) -> str:
    code = ord(char)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65_536 else f"\\U{code:08x}"
    )
