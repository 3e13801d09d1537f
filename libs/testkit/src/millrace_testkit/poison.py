"""Records that are poison, or only look so, and what a reader says of them."""

from collections.abc import Mapping

from millrace_bus.fence import note
from millrace_testkit.counting import seen_record

DEEP = 1_000_000
MEGABYTE = b"x" * 1_000_000

Headers = list[tuple[str, bytes]]


def given_headers(**changes: bytes | None) -> Headers:
    """Those of the event in the middle, with some replaced (or, by None, left out)."""
    known = {name.replace("-", "_"): (name, value) for name, value in seen_record(5, "mid").headers}
    for name, value in changes.items():
        known.pop(name, None)
        if value is not None:
            known[name] = (name, value)
    return list(known.values())


BROKEN = "does not decode as millrace.v1.EventAccepted"
VALUE = seen_record(5, "mid").value or b""
KEY = b"counting/mid"
# a name: (value, headers, key, what the reason says: None when it is read all the same, empty when it is passed over)
POISON: Mapping[str, tuple[bytes | None, Headers, bytes | None, str | None]] = {
    "truncated protobuf": (VALUE[:-3], given_headers(), KEY, BROKEN),
    "another type's protobuf": (b"\x08\x96\x01\x12\x04test", given_headers(), KEY, BROKEN),
    "no protobuf": (b"\xff" * 40, given_headers(), KEY, BROKEN),
    "groups a million deep": (b"\x0b" * DEEP, given_headers(), KEY, BROKEN),
    "messages a million deep": (b"\x0a\x7f" * DEEP, given_headers(), KEY, BROKEN),
    "invalid utf-8 in a text": (b"\x0a\x02\xff\xfe", given_headers(), KEY, BROKEN),
    "a length beyond the end": (b"\x0a\xff\xff\xff\xff\x07", given_headers(), KEY, BROKEN),
    "a length beyond all ends": (b"\x0a" + b"\xff" * 9 + b"\x01", given_headers(), KEY, BROKEN),
    "JSON": (b'{"event_id": "e5"}', given_headers(), KEY, BROKEN),
    "no value at all": (b"", given_headers(), KEY, BROKEN),
    "10 MB of zeros": (bytes(10_000_000), given_headers(), KEY, BROKEN),
    "a source of 1 MB": (VALUE, given_headers(ce_source=MEGABYTE), KEY, "ce_source"),
    "a source that is no text": (VALUE, given_headers(ce_source=b"\xff\x00"), KEY, "ce_source"),
    "a source of the bus's own": (VALUE, given_headers(ce_source=note(3)), KEY, "ce_source"),
    "an empty sequence": (VALUE, given_headers(ce_sequence=b""), KEY, "ce_sequence"),
    "a sequence of words": (VALUE, given_headers(ce_sequence=b"zzzz"), KEY, "ce_sequence"),
    "a sequence too long": (VALUE, given_headers(ce_sequence=b"9" * 10_000), KEY, "ce_sequence"),
    "all nines": (VALUE, given_headers(ce_sequence=b"9" * 16 + b".99999"), KEY, "leaps too far"),
    "microseconds": (
        VALUE,
        given_headers(ce_sequence=b"1763705000000000.00000"),
        KEY,
        "leaps too far",
    ),
    "a bare number": (VALUE, given_headers(ce_sequence=b"9"), KEY, "not as wide"),
    "a negative sequence": (VALUE, given_headers(ce_sequence=b"-000000000000001.0"), KEY, "digits"),
    "digits of another script": (
        VALUE,
        given_headers(ce_sequence="٩٩".encode()),
        KEY,
        "ce_sequence",
    ),
    "an id of 1 MB": (VALUE, given_headers(ce_id=MEGABYTE), KEY, "ce_id"),
    "a correlation of 1 MB": (VALUE, given_headers(ce_correlationid=MEGABYTE), KEY, "ce_corr"),
    "a recorded time of 1 MB": (VALUE, given_headers(ce_recordedtime=MEGABYTE), KEY, "ce_recorded"),
    # read all the same, as docs/dead-letters.md says
    "no key": (VALUE, given_headers(), None, None),
    "a key that is no text": (VALUE, given_headers(), b"\xff\x00\xfe", None),
    "a key of 1 MB": (VALUE, given_headers(), MEGABYTE, None),
    "no id": (VALUE, given_headers(ce_id=None), KEY, None),
    "an id that is no text": (VALUE, given_headers(ce_id=b"\xff\xfe"), KEY, None),
    "no source": (VALUE, given_headers(ce_source=None), KEY, None),
    "no sequence": (VALUE, given_headers(ce_sequence=None), KEY, None),
    "no recorded time": (VALUE, given_headers(ce_recordedtime=None), KEY, None),
    "a trace that is none": (VALUE, given_headers(traceparent=b"\xff" * 9_000), KEY, None),
    "an id twice": (VALUE, [("ce_id", b"other"), *given_headers()], KEY, None),
    "ten thousand headers": (
        VALUE,
        [*((f"h{n}", b"x") for n in range(10_000)), *given_headers()],
        KEY,
        None,
    ),
    "a content type that is none": (VALUE, given_headers(content_type=b"\xff"), KEY, None),
    "said to be compressed": (VALUE, [*given_headers(), ("content-encoding", b"gzip")], KEY, None),
    "unknown fields": (VALUE + b"\xfa\x7f\x03abc", given_headers(), KEY, None),
    # for nobody here: skipped
    "a type of nobody's": (VALUE, given_headers(ce_type=b"millrace.v9.Unknown"), KEY, ""),
    "no type": (VALUE, given_headers(ce_type=None), KEY, ""),
    "a type of 1 MB": (VALUE, given_headers(ce_type=MEGABYTE), KEY, ""),
    "for nobody, nor countable": (VALUE, given_headers(ce_type=b"x", ce_sequence=b"z"), KEY, ""),
}
SQL_ONLY: Mapping[str, tuple[bytes | None, Headers, bytes | None, str | None]] = {
    # the stream form hands the header on unread; whoever needs to know the time refuses it
    f"recorded {when.decode(errors='replace')}": (
        VALUE,
        given_headers(ce_recordedtime=when),
        KEY,
        "ce_recordedtime",
    )
    for when in (
        b"yesterday",
        b"\xff",
        b"0000-01-01T00:00:00Z",
        b"0001-01-01T00:00:00Z",
        b"1969-12-31T23:59:59Z",
        b"10000-01-01T00:00:00Z",
        b"9999-12-31T23:59:59.999999-14:00",
        b"2026-12-31T23:59:60Z",
        b"-1",
    )
}
