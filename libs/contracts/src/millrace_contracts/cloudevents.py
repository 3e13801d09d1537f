"""CloudEvents 1.0, Kafka protocol binding, binary content mode: the headers of every event on the bus.

Extensions as standardised: sequence, correlationid, causationid, recordedtime, and W3C trace context (also as the plain
header `traceparent`, where every tracing tool looks). Values stay bytes from header to header: an event that is handled
a million times a minute carries its recorded time and its correlation along without ever being parsed.
"""

Header = tuple[str, bytes]

PROTOBUF = b"application/protobuf"
SPEC_VERSION: Header = ("ce_specversion", b"1.0")
CONTENT_TYPE: Header = ("content-type", PROTOBUF)


def sequence(offset: int, index: int) -> bytes:
    """The sequence of the index-th output of the input at this offset: fixed width, so bytes sort as numbers do."""
    return b"%016d.%05d" % (offset, index)
