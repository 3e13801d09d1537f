"""Dead letters: the original bytes, and in headers why, where and when, in the words of Kafka Connect and of Spring.

Both sets are written so that the tools people already have can read them.
"""

import struct
from collections.abc import Sequence

from millrace_contracts.catalogue import dead_letters_of
from millrace_contracts.message import Message, Outgoing, Record
from millrace_kernel.errors import MillraceError

_OURS = ("__connect.errors.", "kafka_dlt-")
_LONGEST_TEXT = 4_000


class TooManyDeadLettersError(MillraceError):
    """So many in a row are no bad messages but a bad deployment: the reader stops instead of emptying its topic."""


class Brake:
    """Counts dead letters in a row; stops the reader when there are more than `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_a_row = 0

    def good(self) -> None:
        self._in_a_row = 0

    def bad(self, record: Record, reason: BaseException) -> None:
        self._in_a_row += 1
        if self._in_a_row > self._limit:
            raise TooManyDeadLettersError(
                f"{self._in_a_row} messages in a row could not be handled, the last at {record.topic}/{record.partition}/"
                f"{record.offset}: {reason}. Look at the newest deployment, or raise the limit if the messages really are bad"
            ) from reason


def dead_letter(message: Message, error: BaseException, reader: str) -> Outgoing:
    """The record for `<topic>.dlq`. Deterministic: the time is the record's own, so doing it again gives the same bytes."""
    record = message.record
    return Outgoing(
        topic=dead_letters_of(record.topic),
        key=record.key,
        value=record.value,
        headers=[
            *_original(record.headers),
            *_connect(record, error, reader),
            *_spring(record, error, reader),
        ],
        timestamp=record.timestamp,
    )


def _original(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [(name, value) for name, value in headers if not name.startswith(_OURS)]


def _connect(record: Record, error: BaseException, reader: str) -> list[tuple[str, bytes]]:
    prefix = "__connect.errors."
    return [
        (prefix + "topic", record.topic.encode()),
        (prefix + "partition", str(record.partition).encode()),
        (prefix + "offset", str(record.offset).encode()),
        (prefix + "connector.name", f"millrace-{reader}".encode()),
        (prefix + "task.id", str(record.partition).encode()),
        (prefix + "stage", b"HANDLER"),
        (prefix + "class.name", _name(error)),
        (prefix + "exception.class.name", _name(error)),
        (prefix + "exception.message", _text(error)),
        (prefix + "exception.stacktrace", b""),
    ]


def _spring(record: Record, error: BaseException, reader: str) -> list[tuple[str, bytes]]:
    prefix = "kafka_dlt-"
    return [
        (prefix + "original-topic", record.topic.encode()),
        (prefix + "original-partition", struct.pack(">i", record.partition)),
        (prefix + "original-offset", struct.pack(">q", record.offset)),
        (prefix + "original-timestamp", struct.pack(">q", record.timestamp)),
        (prefix + "original-timestamp-type", b"CreateTime"),
        (prefix + "original-consumer-group", f"millrace-{reader}".encode()),
        (prefix + "exception-fqcn", _name(error)),
        (prefix + "exception-cause-fqcn", _name(error.__cause__ or error)),
        (prefix + "exception-message", _text(error)),
        (prefix + "exception-stacktrace", b""),
    ]


def _name(error: BaseException) -> bytes:
    return f"{type(error).__module__}.{type(error).__qualname__}".encode()


def _text(error: BaseException) -> bytes:
    return str(error)[:_LONGEST_TEXT].encode("utf-8", "replace")
