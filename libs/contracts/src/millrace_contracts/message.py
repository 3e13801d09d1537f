"""A message of the bus as a reader sees it: the record, its CloudEvents headers, and what the wire table decoded.

Headers are read on demand: a reader of a million messages a minute pays for those that it looks at.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from typing_extensions import override

from millrace_contracts.cloudevents import shared_time_header, time_header
from millrace_kernel.time import Instant, parse_rfc3339


class Record(Protocol):
    """What a broker hands out. `timestamp` is in milliseconds since the Unix epoch."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Origin(Protocol):
    """What an output says of its cause, as it goes into the headers: a message, or a cause that was kept."""

    traceparent: str | None

    @property
    def id_bytes(self) -> bytes: ...
    @property
    def correlation_bytes(self) -> bytes: ...
    @property
    def recorded_bytes(self) -> bytes: ...


class Cause(msgspec.Struct):
    """What an output descends from; kept beside work that ends later, so that its outcome names its cause."""

    id: str
    recorded_at: Instant
    correlation_id: str
    traceparent: str | None = None

    @property
    def id_bytes(self) -> bytes:
        return self.id.encode()

    @property
    def correlation_bytes(self) -> bytes:
        return self.correlation_id.encode()

    @property
    def recorded_bytes(self) -> bytes:
        return time_header(self.recorded_at)

    def to_text(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_text(cls, text: str) -> "Cause":
        return msgspec.json.decode(text, type=cls)


def _position(record: Record) -> bytes:
    return f"{record.topic}/{record.partition}/{record.offset}".encode()


class Message:
    """One record, understood. `event` is what the wire table made of it, None for raw records."""

    __slots__ = (
        "_recorded_at",
        "correlation_bytes",
        "event",
        "headers",
        "id_bytes",
        "is_raw",
        "record",
        "traceparent",
    )

    def __init__(self, record: Record, is_raw: bool = False) -> None:
        self.record = record
        self.is_raw = is_raw  # a user wrote it: its headers may say anything
        headers: dict[str, bytes] = dict(record.headers)  # a header sent twice: the last one counts
        self.headers = headers
        # a record without an id is known by its position, which is as unique and as lasting
        self.id_bytes = headers.get("ce_id") or _position(record)
        # what has no cause started a causal chain of its own
        self.correlation_bytes = headers.get("ce_correlationid") or self.id_bytes
        self.event: Any = None
        self.traceparent: str | None = None  # of the span that handles it; set when it is sampled
        self._recorded_at: Instant | None = None

    @property
    def topic(self) -> str:
        return self.record.topic

    @property
    def partition(self) -> int:
        return self.record.partition

    @property
    def offset(self) -> int:
        return self.record.offset

    @property
    def key(self) -> bytes | None:
        return self.record.key

    @property
    def value(self) -> bytes:
        return self.record.value or b""

    @property
    def is_tombstone(self) -> bool:
        return self.record.value is None

    @property
    def type(self) -> str:
        return self._text("ce_type")

    @property
    def source(self) -> str:
        return self._text("ce_source")

    @property
    def sequence(self) -> bytes | None:
        """Grows along one source and partition, as bytes in lexicographic order. None: the writer does not count."""
        return self.headers.get("ce_sequence")

    @property
    def id(self) -> str:
        return self.id_bytes.decode(errors="replace")

    @property
    def correlation_id(self) -> str:
        """The id of what started the causal chain."""
        return self.correlation_bytes.decode(errors="replace")

    @property
    def recorded_bytes(self) -> bytes:
        """`recorded_at` as a header: the one that came, unread, or the record's time."""
        header = None if self.is_raw else self.headers.get("ce_recordedtime")
        return header or shared_time_header(self.recorded_at)

    @property
    def recorded_at(self) -> Instant:
        """When Millrace knew: carried along from the entry, so that a replay tells history's time, not today's.

        Raises ValueError where a user's header is not a time.
        """
        if self._recorded_at is None:
            header = self.headers.get("ce_recordedtime") or self.headers.get("recordedtime")
            self._recorded_at = (
                parse_rfc3339(header.decode()) if header else Instant(self.record.timestamp * 1_000)
            )
        return self._recorded_at

    @property
    def cause(self) -> Cause:
        return Cause(self.id, self.recorded_at, self.correlation_id, self.traceparent)

    def _text(self, header: str) -> str:
        value = self.headers.get(header)
        return value.decode(errors="replace") if value else ""  # users' headers may hold anything

    @override
    def __repr__(self) -> str:
        return f"Message({self.type or 'raw'} at {self.topic}/{self.partition}/{self.offset})"


class Outgoing(msgspec.Struct):
    """One record to be written, with everything but its partition decided."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int | None = None  # milliseconds; None: the broker's
