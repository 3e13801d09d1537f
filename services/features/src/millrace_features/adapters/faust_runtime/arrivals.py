"""Faust's events as the records that the platform knows."""

from collections.abc import Sequence
from typing import Any

from faust.types import EventT


class FaustRecord:
    """A record out of Faust's message: its bytes as they came, its time in milliseconds."""

    __slots__ = (
        "headers",
        "key",
        "offset",
        "partition",
        "timestamp",
        "timestamp_type",
        "topic",
        "value",
    )

    def __init__(self, event: EventT[Any]) -> None:
        message = event.message
        self.topic: str = message.topic
        self.partition: int = message.partition
        self.offset: int = message.offset
        self.timestamp = round(message.timestamp * 1_000)  # Faust counts seconds
        self.timestamp_type: int = message.timestamp_type
        self.key: bytes | None = message.key
        self.value: bytes | None = message.value
        headers = message.headers or ()
        self.headers: Sequence[tuple[str, bytes]] = (
            list(headers.items()) if isinstance(headers, dict) else headers  # type: ignore[assignment]  # either, it says
        )


class FaustArrival:
    """A record, and the event to be acknowledged when it has been applied."""

    __slots__ = ("_event", "record")

    def __init__(self, event: EventT[Any]) -> None:
        self._event = event
        self.record = FaustRecord(event)

    def ack(self) -> None:
        """Tell Faust, which commits the group's offsets by and by: for lag tools, and as a hint where to start."""
        self._event.ack()
