"""Dead letters: the original bytes, and in headers why, where and when, in the words of Kafka Connect and of Spring.

Both sets are written so that the tools people already have can read them: names and encodings are those of Connect's
`DeadLetterQueueReporter` (text) and of Spring's `DeadLetterPublishingRecoverer` (numbers as big-endian bytes).
"""

import struct
import traceback
from collections.abc import Sequence

from millrace_contracts.catalogue import dead_letters_of
from millrace_contracts.message import Message, Outgoing, Record
from millrace_contracts.wire import WireError
from millrace_kernel.errors import MillraceError

CONNECT, SPRING = "__connect.errors.", "kafka_dlt-"
GROUP_PREFIX = "millrace-"
CUT = "millrace-dead-letter-cut"  # how many bytes the value had that did not fit into the dead letters' topic
_LONGEST_TEXT = 4_000
_LONGEST_TRACE = 8_000
_KEPT_OF_VALUE, _KEPT_HEADERS, _KEPT_OF_HEADER = 256 << 10, 100, 1 << 10
# Java's names of TimestampType, by the number that records carry
_TIMESTAMP_TYPES = {0: b"CreateTime", 1: b"LogAppendTime"}


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
    """The record for `<topic>.dlq`. Deterministic: the same code makes the same bytes of the same message.

    Its own time is the broker's: with the original's, retention would take letters of a replayed history at once.
    """
    record = message.record
    trace = _trace(error)
    return Outgoing(
        topic=dead_letters_of(record.topic),
        key=record.key,
        value=record.value,
        headers=[
            *_original(record.headers),
            *_connect(record, error, reader, trace),
            *_spring(record, error, reader, trace),
        ],
    )


def cut(letter: Outgoing) -> Outgoing:
    """What is left of a letter that its topic does not take: enough to see what it is, and where the whole of it stands.

    The reader goes on. The original can be read at its place for as long as its topic keeps it.
    """
    value = letter.value or b""
    headers = [
        (name, content)
        for name, content in letter.headers
        if name.startswith((CONNECT, SPRING)) or len(name) + len(content or b"") <= _KEPT_OF_HEADER
    ]
    ours = [header for header in headers if header[0].startswith((CONNECT, SPRING))]
    others = [header for header in headers if header not in ours][:_KEPT_HEADERS]
    said = (CUT, str(len(value)).encode())
    key = None if letter.key is None else letter.key[:_KEPT_OF_HEADER]
    return Outgoing(letter.topic, key, value[:_KEPT_OF_VALUE], [*others, *ours, said])


def _original(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Without what an earlier death said: one letter tells of one death."""
    return [(name, value) for name, value in headers if not name.startswith((CONNECT, SPRING))]


def _connect(
    record: Record, error: BaseException, reader: str, trace: bytes
) -> list[tuple[str, bytes]]:
    stage = b"VALUE_CONVERTER" if isinstance(error, WireError) else b"TASK_PUT"
    return [
        (CONNECT + "topic", record.topic.encode()),
        (CONNECT + "partition", str(record.partition).encode()),
        (CONNECT + "offset", str(record.offset).encode()),
        (CONNECT + "connector.name", _group(reader)),
        (CONNECT + "task.id", str(record.partition).encode()),
        (CONNECT + "stage", stage),
        (CONNECT + "class.name", _raised_in(error, reader)),
        (CONNECT + "exception.class.name", _name(error)),
        (CONNECT + "exception.message", _text(error)),
        (CONNECT + "exception.stacktrace", trace),
    ]


def _spring(
    record: Record, error: BaseException, reader: str, trace: bytes
) -> list[tuple[str, bytes]]:
    kind = _TIMESTAMP_TYPES.get(getattr(record, "timestamp_type", 0) or 0, b"NoTimestampType")
    return [
        (SPRING + "original-topic", record.topic.encode()),
        (SPRING + "original-partition", struct.pack(">i", record.partition)),
        (SPRING + "original-offset", struct.pack(">q", record.offset)),
        (SPRING + "original-timestamp", struct.pack(">q", record.timestamp)),
        (SPRING + "original-timestamp-type", kind),
        (SPRING + "original-consumer-group", _group(reader)),
        (SPRING + "exception-fqcn", _name(error)),
        (SPRING + "exception-cause-fqcn", _name(_root(error))),
        (SPRING + "exception-message", _text(error)),
        (SPRING + "exception-stacktrace", trace),
    ]


def _group(reader: str) -> bytes:
    """The consumer group of a service, by which a letter says who could not handle it."""
    return f"{GROUP_PREFIX}{reader}".encode()


def _name(error: BaseException) -> bytes:
    return f"{type(error).__module__}.{type(error).__qualname__}".encode()


def _root(error: BaseException) -> BaseException:
    """What began it. An error may be its own cause, in a circle."""
    seen = {id(error)}
    while (cause := error.__cause__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause
    return error


def _raised_in(error: BaseException, reader: str) -> bytes:
    """The function that raised it; for one that was handed over without having been raised, the reader."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return _group(reader)
    frame = frames[-1][0]
    return f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_qualname}".encode()


def _trace(error: BaseException) -> bytes:
    """The stack trace, outermost call first. Of one that is too long the end counts: there the error is."""
    text = "".join(traceback.format_exception(error, limit=-20))
    return text[-_LONGEST_TRACE:].encode("utf-8", "replace")


def _text(error: BaseException) -> bytes:
    return str(error)[:_LONGEST_TEXT].encode("utf-8", "replace")
