"""CloudEvents 1.0, Kafka protocol binding, binary content mode: the headers of every event on the bus.

Extensions as standardised: sequence, correlationid, causationid, recordedtime, and W3C trace context (also as the plain
header `traceparent`, where every tracing tool looks). Values stay bytes from header to header: an event that is handled
a million times a minute carries its recorded time and its correlation along without ever being parsed.
"""

Header = tuple[str, bytes]

PROTOBUF = b"application/protobuf"
SPEC_VERSION: Header = ("ce_specversion", b"1.0")
CONTENT_TYPE: Header = ("content-type", PROTOBUF)


def headers(  # noqa: PLR0913  one for each attribute of the standard
    *,
    id: bytes,  # noqa: A002  CloudEvents names it so
    source: Header,
    type: Header,  # noqa: A002  likewise
    time: bytes,
    subject: bytes,
    sequence: bytes | None,
    recorded_time: bytes,
    correlation_id: bytes,
    causation_id: bytes,
    traceparent: str | None,
) -> list[Header]:
    """The headers of one event, in the order in which people read them. `source` and `type` come as ready headers."""
    result = [
        SPEC_VERSION,
        ("ce_id", id),
        source,
        type,
        ("ce_time", time),
        ("ce_subject", subject),
        CONTENT_TYPE,
        ("ce_recordedtime", recorded_time),
        ("ce_correlationid", correlation_id),
        ("ce_causationid", causation_id),
    ]
    if sequence is not None:
        result.append(("ce_sequence", sequence))
    if traceparent is not None:
        trace = traceparent.encode()
        result.append(("traceparent", trace))
        result.append(("ce_traceparent", trace))
    return result


def sequence(offset: int, index: int) -> bytes:
    """The sequence of the index-th output of the input at this offset: fixed width, so bytes sort as numbers do."""
    return b"%016d.%05d" % (offset, index)
