"""What one service hears of another: the bytes that it would hear live, from the one's encoder to the other's decoder.

Only what is rare goes this way (drift, runs, models), so that no translation of this package can differ from the services'.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from millrace_contracts.message import Message
from millrace_contracts.wire import WireTable
from millrace_kernel.ids import derived_id
from millrace_kernel.time import Instant, rfc3339


@dataclass(frozen=True, slots=True)
class _Record:
    topic: str
    offset: int
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    key: bytes | None = None
    partition: int = 0
    timestamp: int = 0


class Wires:
    """Carries events between wire tables. The ids of messages count up, so that the same play gives the same ids."""

    def __init__(self, readers: Sequence[WireTable]) -> None:
        self._readers = readers
        self._carried = 0

    def carry(self, event: object, writer: WireTable, at: Instant) -> list[Any]:
        """What each reader makes of an event that was recorded at a time; None for one that does not listen to it."""
        encoder = writer.encoder(event)
        self._carried += 1
        counted = derived_id("backtest", str(self._carried))
        headers = (
            encoder.type_header,
            ("ce_id", (encoder.id(event) if encoder.id else counted).encode()),
            ("ce_recordedtime", rfc3339(at).encode()),
        )
        record = _Record(encoder.topic, self._carried, encoder.encode(event), headers)
        return [_decoded(reader, record) for reader in self._readers]


def _decoded(reader: WireTable, record: _Record) -> Any:  # noqa: ANN401  whatever the reader's decoder makes
    message = Message(record)
    return message.event if reader.decode(message) else None
