"""CloudEvents 1.0, Kafka protocol binding, binary content mode: the headers of every event on the bus.

Extensions as standardised: sequence, correlationid, causationid, recordedtime, and W3C trace context (also as the plain
header `traceparent`, where every tracing tool looks). Values stay bytes from header to header: an event that is handled
a million times a minute carries its recorded time and its correlation along without ever being parsed.
"""

from functools import lru_cache

from millrace_kernel.time import Instant, rfc3339

Header = tuple[str, bytes]

_SECOND = 1_000_000
_LENGTH_OF_SECONDS = len("2026-11-21T02:54:00.")

PROTOBUF = b"application/protobuf"
SPEC_VERSION: Header = ("ce_specversion", b"1.0")
CONTENT_TYPE: Header = ("content-type", PROTOBUF)


def sequence(offset: int, index: int) -> bytes:
    """The sequence of the index-th output of the input at this offset: fixed width, so bytes sort as numbers do."""
    return b"%016d.%05d" % (offset, index) if index else b"%016d.00000" % offset


def time_header(at: Instant) -> bytes:
    """`millrace_kernel.time.rfc3339` as a header. Times come close together: each second's text is made once."""
    seconds, microseconds = divmod(at, _SECOND)
    return b"%b%06dZ" % (_to_the_second(seconds), microseconds)


@lru_cache(maxsize=4_096)
def shared_time_header(at: Instant) -> bytes:
    """The same, remembered: for times that many events have in common, such as a batch's milliseconds."""
    return time_header(at)


@lru_cache(maxsize=4_096)
def _to_the_second(seconds: int) -> bytes:
    return rfc3339(Instant(seconds * _SECOND))[:_LENGTH_OF_SECONDS].encode()
