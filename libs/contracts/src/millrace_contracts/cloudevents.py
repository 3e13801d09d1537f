"""CloudEvents 1.0, Kafka protocol binding, binary content mode: the headers of every event on the bus.

Extensions as standardised: sequence, correlationid, causationid, recordedtime, and W3C trace context (also as the plain
headers `traceparent`/`tracestate`, where every tracing tool looks).
"""

from millrace_kernel.time import Instant, rfc3339

PROTOBUF = b"application/protobuf"
_SPEC_VERSION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", PROTOBUF)


def headers(
    *,
    id: str,  # noqa: A002  CloudEvents names it so
    source: bytes,
    type: bytes,  # noqa: A002  likewise
    time: Instant,
    subject: bytes,
    sequence: bytes | None,
    recorded_at: Instant,
    correlation_id: str,
    causation_id: str | None,
    traceparent: str | None,
) -> list[tuple[str, bytes]]:
    """The headers of one event, in the order in which people read them."""
    recorded = rfc3339(recorded_at).encode()
    result = [
        _SPEC_VERSION,
        ("ce_id", id.encode()),
        ("ce_source", source),
        ("ce_type", type),
        ("ce_time", recorded if time == recorded_at else rfc3339(time).encode()),
        ("ce_subject", subject),
        _CONTENT_TYPE,
        ("ce_recordedtime", recorded),
        ("ce_correlationid", correlation_id.encode()),
    ]
    if sequence is not None:
        result.append(("ce_sequence", sequence))
    if causation_id is not None:
        result.append(("ce_causationid", causation_id.encode()))
    if traceparent is not None:
        trace = traceparent.encode()
        result.append(("traceparent", trace))
        result.append(("ce_traceparent", trace))
    return result


def sequence(offset: int, index: int) -> bytes:
    """The sequence of the index-th output of the input at this offset: fixed width, so bytes sort as numbers do."""
    return b"%016d.%05d" % (offset, index)
