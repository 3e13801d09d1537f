"""The state's bytes and keys: what one partition remembers of each entity. Equal histories give equal bytes."""

import sys
from array import array
from collections.abc import Iterable
from typing import Any

import msgspec

from millrace_bus.store import State
from millrace_features.domain.history import History
from millrace_features.domain.labels import Labels
from millrace_kernel.ids import EntityId, PipelineName

FORMAT = b"\x01"  # the first byte; another layout gets another number

_INTEGERS, _DOUBLES = "q", "d"  # eight bytes each, little-endian
_SWAPPED = sys.byteorder != "little"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


class HistoryCodec:
    """`History` as one byte of format and a MessagePack list, its columns packed as plain machine numbers."""

    def encode(self, value: History) -> bytes:
        labels = value.labels
        content = (
            value.version,
            value.newest,
            _packed(_INTEGERS, value.times),
            {name: _packed(_DOUBLES, values) for name, values in value.fields.items()},
            value.ever,
            None if labels is None else _encoded_labels(labels),
        )
        return FORMAT + _encode(content)

    def decode(self, content: bytes) -> History:
        if content[:1] != FORMAT:
            raise ValueError(
                f"the state of the features is of format {content[:1].hex() or 'none'}, this version reads "
                f"{FORMAT.hex()}; remove the state directory to have it built again from the topic"
            )
        version, newest, times, fields, ever, labels = _decode(memoryview(content)[1:])
        return History(
            version,
            newest,
            _unpacked(_INTEGERS, times),
            {name: _unpacked(_DOUBLES, values) for name, values in fields.items()},
            ever,
            None if labels is None else _decoded_labels(labels),
        )


class StateHistories:
    """`Histories` in the state of one batch."""

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    def of(self, pipeline: PipelineName, entity: EntityId) -> History | None:
        history: History | None = self._state.get(state_key(pipeline, entity))
        return history

    def put(self, pipeline: PipelineName, entity: EntityId, history: History) -> None:
        self._state.put(state_key(pipeline, entity), history)


def state_key(pipeline: PipelineName, entity: EntityId) -> bytes:
    """Where an entity's history stands."""
    return f"{pipeline}/{entity}".encode()  # a pipeline's name holds no slash, so keys can't meet


def _encoded_labels(labels: Labels) -> tuple[object, ...]:
    return (
        labels.ids,
        _packed(_INTEGERS, labels.known_at),
        _packed(_DOUBLES, labels.values),
        sorted(labels.revisions.items()),
        labels.ahead,
    )


def _decoded_labels(content: list[Any]) -> Labels:
    ids, known_at, values, revisions, ahead = content
    return Labels(
        ids,
        _unpacked(_INTEGERS, known_at),
        _unpacked(_DOUBLES, values),
        {
            event_id: tuple((known, value) for known, value in entries)
            for event_id, entries in revisions
        },
        [(at, event_id, (known, value)) for at, event_id, (known, value) in ahead],
    )


def _packed(kind: str, values: Iterable[float]) -> bytes:
    numbers = array(kind, values)
    if _SWAPPED:
        numbers.byteswap()
    return numbers.tobytes()


def _unpacked(kind: str, content: bytes) -> list[Any]:
    numbers = array(kind)
    numbers.frombytes(content)
    if _SWAPPED:
        numbers.byteswap()
    return numbers.tolist()
