"""The state's bytes and keys: what one raw partition remembers of each event id, as compact as it goes."""

from typing import Any

import msgspec

from millrace_bus.store import State
from millrace_ingestion.domain.ledger import NOTHING, Happened, Known
from millrace_kernel.ids import EntityId, EventId, PipelineName
from millrace_kernel.time import Instant

# time, entity, label (true: retracted); what is missing at the end is left away
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


class KnownCodec:
    """`Known` as a MessagePack list of at most three."""

    def encode(self, value: Known) -> bytes:
        label = True if value.retracted else value.label
        happened = value.happened
        if happened is None:
            return _encode((None, None, label))
        if label is None:
            return _encode((happened.time, happened.entity))
        return _encode((happened.time, happened.entity, label))

    def decode(self, content: bytes) -> Known:
        time, entity, *labels = _decode(content)
        label = labels[0] if labels else None
        happened = None if time is None else Happened(Instant(time), EntityId(entity))
        return Known(happened, None if label is True else label, label is True)


class StateLedger:
    """`Ledger` in the state of one batch. Pipeline names hold no slash, so keys can't meet."""

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    def of(self, pipeline: PipelineName, event_id: EventId) -> Known:
        known = self._state.get(_key(pipeline, event_id))
        return NOTHING if known is None else known

    def put(self, pipeline: PipelineName, event_id: EventId, known: Known) -> None:
        self._state.put(_key(pipeline, event_id), known)


def _key(pipeline: PipelineName, event_id: EventId) -> bytes:
    return f"{pipeline}/{event_id}".encode()
