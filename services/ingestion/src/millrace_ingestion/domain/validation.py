"""A user's JSON object against a pipeline's rules: a valid event or label, or everything that is wrong with it.

The rules are compiled once per pipeline version, so that an event costs one dictionary look-up and one call a field.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, nan
from operator import itemgetter
from typing import Any

from millrace_ingestion.domain.events import (
    NO_ENTITY,
    EventAccepted,
    Kind,
    LabelValue,
    Submission,
    ValidEvent,
    ValidLabel,
)
from millrace_ingestion.domain.labels import ReadLabel, label_reader
from millrace_ingestion.domain.problems import Problem, Refusal, WrongValueError
from millrace_ingestion.domain.times import read_time
from millrace_ingestion.domain.values import NUMBER_READERS, read_name, read_text, text_reader
from millrace_kernel.ids import EntityId, PipelineName
from millrace_kernel.pipeline import EventShape, FieldKind, Pipeline
from millrace_kernel.time import EARLIEST, LATEST, Duration, Instant, format_duration, rfc3339

_ID, _LABEL, _ENTITY, _KNOWN_AT, _EVENT_TIME = (
    "id",
    "label",
    "entity",
    "known_at",
    "event_time",
)  # of a label's object
_FLOAT = {float}


@dataclass(frozen=True, slots=True)
class NumberColumn:
    name: str
    required: bool
    read: Callable[[object], float]


@dataclass(frozen=True, slots=True)
class TextColumn:
    name: str
    required: bool
    read: Callable[[object], str] = read_text


@dataclass(frozen=True, slots=True)
class Rules:
    """One version of a pipeline as ingestion needs it."""

    pipeline: PipelineName
    version: int
    shape: EventShape
    numbers: tuple[NumberColumn, ...]
    floats: Callable[[dict[str, object]], tuple[object, ...]] | None
    """All number columns at once, where every one is a float."""
    texts: tuple[TextColumn, ...]
    label_field: str
    label_delay: Duration
    read_label: ReadLabel
    aggregates_labels: bool


def compile_rules(pipeline: Pipeline) -> Rules:
    return Rules(
        pipeline=pipeline.name,
        version=pipeline.version,
        shape=pipeline.event,
        numbers=tuple(
            NumberColumn(field.name, field.required, NUMBER_READERS[field.kind])
            for field in pipeline.number_fields
        ),
        floats=_all_floats(pipeline),
        texts=tuple(
            TextColumn(field.name, field.required, text_reader(field.max_bytes))
            for field in pipeline.text_fields
        ),
        label_field=pipeline.label.field,
        label_delay=pipeline.label.delay,
        read_label=label_reader(pipeline.label),
        aggregates_labels=pipeline.aggregates_labels,
    )


def _all_floats(pipeline: Pipeline) -> Callable[[dict[str, object]], tuple[object, ...]] | None:
    names = [field.name for field in pipeline.number_fields]
    if len(names) < 2 or any(field.kind is not FieldKind.FLOAT for field in pipeline.number_fields):
        return None
    return itemgetter(*names)


def validate(rules: Rules, submission: Submission) -> ValidEvent | ValidLabel | Refusal:
    """The one way in for raw messages and HTTP alike, so that both accept exactly the same."""
    if submission.kind is Kind.EVENT:
        return _event(rules, submission)
    return _label(rules, submission)


def _event(rules: Rules, submission: Submission) -> ValidEvent | Refusal:
    body, shape, problems = submission.body, rules.shape, list[Problem]()
    event_id = _name(shape.id, _or_else(body.get(shape.id), submission.id), problems)
    at = _event_time(
        shape, _or_else(body.get(shape.time), submission.time), submission.recorded_at, problems
    )
    entity = (
        NO_ENTITY if shape.entity is None else _name(shape.entity, body.get(shape.entity), problems)
    )
    numbers = _finite_floats(rules, body) or _numbers(rules.numbers, body, problems)
    texts = _texts(rules.texts, body, problems) if rules.texts else ()
    label = _label_within(rules, body, problems)
    if problems:
        return Refusal(tuple(problems))
    accepted = EventAccepted(rules.pipeline, rules.version, event_id, entity, at, numbers, texts)
    known_at: Any = min(at + rules.label_delay, LATEST)
    return ValidEvent(accepted, label, known_at)


def _label(rules: Rules, submission: Submission) -> ValidLabel | Refusal:
    """A label sent apart: {id, label, entity?, known_at?, event_time?}, whatever the event's own fields are called."""
    body, problems = submission.body, list[Problem]()
    event_id = _name(_ID, body.get(_ID), problems)
    value = _label_apart(rules, submission, problems)
    entity = (
        NO_ENTITY if rules.shape.entity is None else _optional_name(body.get(_ENTITY), problems)
    )
    latest = submission.recorded_at + rules.shape.max_ahead
    known_at = _optional_time(_KNOWN_AT, body.get(_KNOWN_AT), latest, problems)
    event_time = _optional_time(_EVENT_TIME, body.get(_EVENT_TIME), latest, problems)
    if problems:
        return Refusal(tuple(problems))
    return ValidLabel(
        rules.pipeline,
        rules.version,
        event_id,
        value,
        submission.recorded_at if known_at is None else known_at,
        entity,
        event_time,
    )


def _finite_floats(rules: Rules, body: dict[str, object]) -> tuple[float, ...] | None:
    """Nearly all events of a pipeline of floats: all there, all floats, all finite (else their sum isn't). None: look closer."""
    if rules.floats is None:
        return None
    try:
        values: tuple[Any, ...] = rules.floats(body)
    except KeyError:
        return None
    return values if set(map(type, values)) == _FLOAT and isfinite(sum(values)) else None


def _numbers(
    columns: tuple[NumberColumn, ...], body: dict[str, object], problems: list[Problem]
) -> tuple[float, ...]:
    values = []
    for column in columns:
        value = body.get(column.name)
        if value is not None:
            try:
                values.append(column.read(value))
            except WrongValueError as wrong:
                problems.append(wrong.at(column.name))
        elif column.required:
            problems.append(_missing_field(column.name))
        else:
            values.append(nan)
    return tuple(values)


def _texts(
    columns: tuple[TextColumn, ...], body: dict[str, object], problems: list[Problem]
) -> tuple[str, ...]:
    values = []
    for column in columns:
        value = body.get(column.name)
        if value is not None and value != "":
            try:
                values.append(column.read(value))
            except WrongValueError as wrong:
                problems.append(wrong.at(column.name))
        elif column.required:
            problems.append(_missing_field(column.name))
        else:
            values.append("")
    return tuple(values)


def _label_within(
    rules: Rules, body: dict[str, object], problems: list[Problem]
) -> LabelValue | None:
    """The truth in the event's own object. null or "" says "not known yet", as a file with a column for it does."""
    value = body.get(rules.label_field)
    if value is None or value == "":
        return None
    return _read_label(rules, rules.label_field, value, problems)


def _label_apart(
    rules: Rules, submission: Submission, problems: list[Problem]
) -> LabelValue | None:
    if submission.kind is Kind.RETRACTION:
        return None
    if _LABEL not in submission.body:
        problems.append(
            Problem(_LABEL, "is missing", "send the truth, or null to take the label back")
        )
        return None
    value = submission.body[_LABEL]
    return None if value is None else _read_label(rules, _LABEL, value, problems)


def _read_label(
    rules: Rules, field: str, value: object, problems: list[Problem]
) -> LabelValue | None:
    try:
        return rules.read_label(value)
    except WrongValueError as wrong:
        problems.append(wrong.at(field))
        return None


def _name(field: str, value: object, problems: list[Problem]) -> Any:  # noqa: ANN401  see below
    """An EventId or an EntityId, which costs nothing only as long as nobody calls it."""
    if value is None or value == "":
        problems.append(_missing(field))
        return ""
    try:
        return read_name(value)
    except WrongValueError as wrong:
        problems.append(wrong.at(field))
        return ""


def _optional_name(value: object, problems: list[Problem]) -> EntityId | None:
    return None if value is None or value == "" else _name(_ENTITY, value, problems)


def _event_time(
    shape: EventShape, value: object, recorded_at: Instant, problems: list[Problem]
) -> Instant:
    if value is None or value == "":
        problems.append(_missing(shape.time))
        return EARLIEST
    return _time(shape.time, value, recorded_at + shape.max_ahead, problems)


def _optional_time(
    field: str, value: object, latest: int, problems: list[Problem]
) -> Instant | None:
    return None if value is None or value == "" else _time(field, value, latest, problems)


def _time(field: str, value: object, latest: int, problems: list[Problem]) -> Instant:
    """A time from 1970 on and up to `latest`: compared with when it was recorded, never with this machine's clock."""
    try:
        at = read_time(value)
    except WrongValueError as wrong:
        problems.append(wrong.at(field))
        return EARLIEST
    if at < EARLIEST:
        problems.append(Problem(field, "is before 1970", "send when it happened, in UTC"))
    elif at > latest or at > LATEST:
        problems.append(_ahead(field, at, latest))
    return at


def _ahead(field: str, at: Instant, latest: int) -> Problem:
    until = Instant(max(EARLIEST, min(latest, LATEST)))
    said = rfc3339(Instant(min(at, LATEST)))
    return Problem(
        field,
        f"is {said}, {format_duration(Duration(at - until))} after the latest that is believed, {rfc3339(until)}",
        "check the sender's clock and zone, or raise event.max_ahead in the pipeline file",
    )


def _missing(name: str) -> Problem:
    return Problem(name, "is missing", "every event and every label needs it")


def _missing_field(name: str) -> Problem:
    return Problem(
        name, "is missing", "send it, or say required: false in the pipeline file if it may be"
    )


def _or_else(value: object, other: str | None) -> object:
    return other if value is None or value == "" else value
