"""From recorded rows to the messages that were sent then, in the order in which things became known.

An event is known when it happens, its label `label.delay` later. Sending both in the order of that time makes "known by
then" mean the same in a replay, a backtest and live. Nothing here looks at a clock: the same rows give the same bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from millrace.errors import ClientError
from millrace.replay.files import Row
from millrace_kernel.pipeline import Field, FieldKind, LabelKind, Pipeline
from millrace_kernel.time import Instant, parse_rfc3339, rfc3339

LABEL_TYPE = b"millrace.label"

_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
_SECONDS_BELOW, _MILLISECONDS_BELOW = 10**11, 10**14  # as ingestion reads numbers as times


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One message as its producer sent it, and when."""

    recorded_at: Instant
    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    event_id: str
    is_label: bool


def messages_of(pipeline: Pipeline, rows: Iterable[Row]) -> list[RawMessage]:
    """Every row's event and, if it has one, its label: in the order of recorded time, each label after its event.

    What became known at the same instant goes in the order in which it happened: so the label of an hour ago comes
    before the event of now. Raises ClientError that names the row.
    """
    reader = _Reader(pipeline)
    ordered: list[tuple[Instant, Instant, int, bool, RawMessage]] = []
    for index, row in enumerate(rows):
        for message, happened_at in reader.read(row, index):
            ordered.append((message.recorded_at, happened_at, index, message.is_label, message))
    ordered.sort(key=lambda item: item[:4])
    return [item[-1] for item in ordered]


class _Reader:
    """Reads the rows of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._shape = pipeline.event
        self._kinds = {field.name: field for field in pipeline.fields}

    def read(self, row: Row, index: int) -> list[tuple[RawMessage, Instant]]:
        """The messages of a row, each with when its event happened."""
        pipeline, shape = self._pipeline, self._shape
        happened_at = self._time(row, index)
        event_id = str(_present(row.get(shape.id)) or index + 1)
        entity = str(self._needed(row, shape.entity, index)) if shape.entity else None
        key = (event_id if entity is None else entity).encode()
        body = self._body(row, index, event_id)
        event = _message(pipeline.topic, key, body, happened_at, event_id, is_label=False)
        found = [(event, happened_at)]
        label = self._label(row, index)
        if label is not None:
            known_at = Instant(happened_at + pipeline.label.delay)
            told = {"id": event_id, "label": label, "entity": entity}
            told |= {"event_time": rfc3339(happened_at), "known_at": rfc3339(known_at)}
            topic = pipeline.label.topic or pipeline.topic
            found.append(
                (_message(topic, key, told, known_at, event_id, is_label=True), happened_at)
            )
        return found

    def _body(self, row: Row, index: int, event_id: str) -> dict[str, Any]:
        """The object without its label: fields as their kind says, whatever else is there as it is."""
        body: dict[str, Any] = {self._shape.id: event_id}
        for name, value in row.items():
            if name in (self._shape.id, self._pipeline.label.field):
                continue
            field = self._kinds.get(name)
            body[name] = value if field is None else _typed(field, value, index)
        return body

    def _label(self, row: Row, index: int) -> object:
        label = self._pipeline.label
        value = _present(row.get(label.field))
        if not isinstance(value, str) or label.kind.is_text:
            return value
        if label.kind is LabelKind.BINARY:
            return value if label.positive is not None else _truth(value, label.field, index)
        return _number(value, label.field, index)

    def _time(self, row: Row, index: int) -> Instant:
        name = self._shape.time
        value = self._needed(row, name, index)
        try:
            return _instant(value)
        except (ValueError, OverflowError):
            raise ClientError(
                f"row {index + 1}: {name} is {value!r}; write a time such as 2026-11-21T02:54:00Z, or seconds since 1970"
            ) from None

    def _needed(self, row: Row, name: str, index: int) -> object:
        value = _present(row.get(name))
        if value is None:
            raise ClientError(
                f"row {index + 1} has no {name}, which the pipeline file names; it has {', '.join(row)}"
            )
        return value


def _message(
    topic: str,
    key: bytes,
    body: Mapping[str, Any],
    recorded_at: Instant,
    event_id: str,
    *,
    is_label: bool,
) -> RawMessage:
    headers = [("recordedtime", rfc3339(recorded_at).encode())]
    if is_label:
        headers.append(("ce_type", LABEL_TYPE))
    value = orjson.dumps(body)
    return RawMessage(recorded_at, topic, key, value, tuple(headers), event_id, is_label)


def _typed(field: Field, value: object, index: int) -> object:
    """A text of a file as JSON has it. What is empty is missing."""
    value = _present(value)
    if not isinstance(value, str):
        return value
    if field.kind is FieldKind.BOOL:
        return _truth(value, field.name, index)
    if field.kind in (FieldKind.FLOAT, FieldKind.INT):
        return _number(value, field.name, index)
    return value


def _present(value: object) -> object:
    """None for what says that there is nothing: an empty text, a NaN."""
    missing = value is None or value == "" or value != value
    return None if missing else value


def _truth(text: str, name: str, index: int) -> bool:
    word = text.strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise ClientError(f"row {index + 1}: {name} is {text!r}; write true or false, 1 or 0")
    return word in _TRUE


def _number(text: str, name: str, index: int) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise ClientError(f"row {index + 1}: {name} is {text!r}; write a number") from None


def _instant(value: object) -> Instant:
    if isinstance(value, str):
        text = value.strip()
        if not text.lstrip("-").replace(".", "", 1).isdecimal():
            return parse_rfc3339(text.upper())
        value = float(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError  # noqa: TRY004  the caller says what to write, whatever was there
    if abs(value) < _SECONDS_BELOW:
        return Instant(round(value * 1_000_000))
    if abs(value) < _MILLISECONDS_BELOW:
        return Instant(round(value * 1_000))
    raise ValueError
