"""What is written about single rows: PredictionMade and its headers by hand, with all that is the same each time prepared.

The bytes are those that protobuf and `millrace_bus.outputs` give for the same prediction; tests hold them to it.
"""

import struct
from collections.abc import Sequence

from millrace_contracts.catalogue import catalogue
from millrace_contracts.cloudevents import CONTENT_TYPE, SPEC_VERSION, Header
from millrace_contracts.cloudevents import sequence as sequence_of
from millrace_contracts.message import Outgoing
from millrace_kernel.ids import DerivedIds
from millrace_kernel.time import SECOND, Instant, rfc3339
from millrace_serving.domain.champions import Champion

_TYPE = "millrace.v1.PredictionMade"
_ROLE_REQUEST = (
    4  # PREDICTION_ROLE_REQUEST; only wire.py knows protobuf, and a test compares the two
)
_VARINT, _FIXED64, _BYTES = 0, 1, 2  # protobuf's wire types
_double = struct.Struct("<d").pack


def varint(value: int) -> bytes:
    """A number that is not negative, as protobuf writes it: seven bits in each byte, the lowest first."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _tag(field: int, wire_type: int) -> bytes:
    return varint(field << 3 | wire_type)


def _number(field: int, value: int) -> bytes:
    return _tag(field, _VARINT) + varint(value) if value else b""


def _text(field: int, content: bytes) -> bytes:
    return _tag(field, _BYTES) + varint(len(content)) + content if content else b""


_EVENT_ID, _TIME, _VALUE = _tag(3, _BYTES), _tag(5, _VARINT), _tag(9, _FIXED64)
_CLASS, _PROBABILITIES, _NUMBERS, _CATEGORY = 10, 11, 12, 13
_TEXT_LENGTHS = [varint(length) for length in range(2_000)]


class RowForm:
    """PredictionMade of one champion's answers to requests."""

    def __init__(self, champion: Champion) -> None:
        self.topic = catalogue().topic_of(_TYPE).name
        self.type_header: Header = ("ce_type", _TYPE.encode())
        self.ids = DerivedIds("request-prediction", champion.pipeline)
        self.key_prefix = champion.pipeline.encode() + b"/"
        self._head = _text(1, champion.pipeline.encode()) + _number(2, champion.pipeline_version)
        self._middle = (
            _number(6, champion.version) + _number(7, champion.epoch) + _number(8, _ROLE_REQUEST)
        )
        self._widths: dict[int, bytes] = {}

    def value(self, row: "LoggedRow", event_id: bytes) -> bytes:
        """The message."""
        parts = [
            self._head,
            _EVENT_ID,
            _TEXT_LENGTHS[len(event_id)],
            event_id,
            _TIME,
            varint(row.at),
            self._middle,
        ]
        if row.value is not None:
            parts += (_VALUE, _double(row.value))
        if row.class_label:
            parts.append(_text(_CLASS, row.class_label.encode()))
        if row.probabilities:
            packed = struct.pack(f"<{len(row.probabilities)}d", *row.probabilities)
            parts.append(_text(_PROBABILITIES, packed))
        if row.numbers:
            parts += (self._numbers_head(len(row.numbers)), row.numbers)
        for text in row.categories:
            content = text.encode()  # unlike a field of its own, an empty one of several is written
            parts += (_tag(_CATEGORY, _BYTES), varint(len(content)), content)
        return b"".join(parts)

    def _numbers_head(self, size: int) -> bytes:
        head = self._widths.get(size)
        if head is None:
            head = self._widths[size] = _tag(_NUMBERS, _BYTES) + varint(size)
        return head


class LoggedRow:
    """An answer to a single row, on its way to the stream; it is written out when it leaves."""

    __slots__ = (
        "at",
        "categories",
        "class_label",
        "event_id",
        "form",
        "numbers",
        "probabilities",
        "size",
        "value",
    )

    def __init__(
        self,
        form: RowForm,
        event_id: str,
        at: Instant,
        numbers: bytes,
        categories: Sequence[str],
        value: float | None,
        class_label: str,
        probabilities: Sequence[float],
        size: int,
    ) -> None:
        self.form = form
        self.event_id = event_id
        self.at = at
        self.numbers = numbers
        self.categories = categories
        self.value = value
        self.class_label = class_label
        self.probabilities = probabilities
        self.size = size

    def record(self, number: int, writer: "HeaderWriter") -> Outgoing:
        """The record of the number-th answer since the start. A request is its own cause."""
        form, event_id = self.form, self.event_id.encode()
        key = form.key_prefix + event_id
        at = writer.time(self.at)
        headers = [
            SPEC_VERSION,
            ("ce_id", form.ids.of(event_id).encode()),
            writer.source,
            form.type_header,
            ("ce_time", at),
            ("ce_subject", key),
            CONTENT_TYPE,
            ("ce_recordedtime", at),
            ("ce_correlationid", event_id),
            ("ce_causationid", event_id),
            ("ce_sequence", sequence_of(number, 0)),
        ]
        return Outgoing(form.topic, key, form.value(self, event_id), headers)


class HeaderWriter:
    """What headers have in common from answer to answer."""

    def __init__(self, source: str) -> None:
        self.source: Header = ("ce_source", source.encode())
        self._second = -1
        self._begun = b""

    def time(self, at: Instant) -> bytes:
        """As `rfc3339`: answers of one second share its beginning."""
        second, rest = divmod(at, SECOND)
        if second != self._second:
            self._second = second
            self._begun = rfc3339(Instant(second * SECOND))[: -len("000000Z")].encode()
        return b"%b%06dZ" % (self._begun, rest)
