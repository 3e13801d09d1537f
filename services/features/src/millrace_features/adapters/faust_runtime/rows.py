"""What the table keeps of one entity: its state, and how far along the input partition that state is.

State, last applied offset and fences are one value, because a table's keys are written one at a time: a row is written
whole or not at all, so it can never hold a state that its offset and its fences do not know of.
"""

import struct
from dataclasses import dataclass, field, replace

import msgspec

FORMAT = b"\x01"  # the first byte; another layout gets another number
POSITION_KEY = b"\x00position"  # entities' keys begin with a pipeline's name, so none can meet it

_OFFSET = struct.Struct(">q")
_HEAD = len(FORMAT) + _OFFSET.size


class _Rest(msgspec.Struct, array_like=True):
    fences: list[tuple[bytes, bytes]]
    state: bytes | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Rest).decode


@dataclass(frozen=True, slots=True)
class Row:
    """One entity of one input partition. `applied` is the offset of its last message that counts in `state`."""

    applied: int = -1
    fences: dict[bytes, bytes] = field(default_factory=dict)  # as `millrace_bus.fence` keeps them
    state: bytes | None = None

    def has_applied(self, offset: int) -> bool:
        return offset <= self.applied

    def after(self, offset: int, raised: dict[bytes, bytes]) -> "Row":
        """The row once the message at `offset` has been met, which raised these fences."""
        return replace(self, applied=offset, fences=self.fences | raised)


NO_ROW = Row()


def encode_row(row: Row) -> bytes:
    rest = _Rest(sorted(row.fences.items()), row.state)
    return FORMAT + _OFFSET.pack(row.applied) + _encode(rest)


def decode_row(content: bytes) -> Row:
    rest = _decode(memoryview(content)[_checked(content) :])
    return Row(applied_of(content), dict(rest.fences), rest.state)


def applied_of(content: bytes) -> int:
    """How far a row is, without reading the rest of it."""
    offset: int = _OFFSET.unpack_from(content, _checked(content) - _OFFSET.size)[0]
    return offset


def merged(key: bytes, known: bytes | None, told: bytes) -> bytes:
    """What holds after the changelog has told a value: of a row the newest by its offset, of the position the last.

    An old row may come late, from an instance that did not know it had lost the partition. A position that comes late
    is believed: what is applied again is recognised by its row.
    """
    if key == POSITION_KEY or known is None or applied_of(known) <= applied_of(told):
        return told
    return known


def encode_position(position: int) -> bytes:
    return _OFFSET.pack(position)


def decode_position(content: bytes) -> int:
    position: int = _OFFSET.unpack(content)[0]
    return position


def _checked(content: bytes) -> int:
    if content[:1] != FORMAT:
        raise ValueError(
            f"a row of the Faust table is of format {content[:1].hex() or 'none'}, this version reads {FORMAT.hex()}; "
            "delete the changelog topic, the consumer group and the state directory to build it again from the events"
        )
    return _HEAD
