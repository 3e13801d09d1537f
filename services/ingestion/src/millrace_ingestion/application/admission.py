"""What HTTP checks before it lets rows into a raw topic: all of them or none, by the rules that the reader keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from millrace_ingestion.application.handlers import as_label
from millrace_ingestion.application.ports import RawRow, ReadSubmission
from millrace_ingestion.domain.events import (
    LABEL_TYPE,
    MAX_VALUE_BYTES,
    Kind,
    Submission,
    ValidEvent,
    ValidLabel,
)
from millrace_ingestion.domain.problems import Problem, Refusal, UnreadableError
from millrace_ingestion.domain.validation import Rules, validate
from millrace_kernel.time import Instant


class Fault(IntEnum):
    """What kind of wrong a row is; of a request's, the worst counts."""

    INVALID = 1  # understood, and against the pipeline's rules
    UNREADABLE = 2
    TOO_LARGE = 3


@dataclass(frozen=True, slots=True)
class RowProblem:
    index: int
    fault: Fault
    problem: Problem


@dataclass(frozen=True, slots=True)
class Admission:
    """Either `problems`, or `rows` ready to be appended."""

    rows: tuple[RawRow, ...]
    problems: tuple[RowProblem, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """Rows that came together. `headers` are what each will carry on Kafka."""

    values: Sequence[bytes]
    headers: Mapping[str, bytes]
    recorded_at: Instant
    labels_only: bool


def admit(rules: Rules, request: Request, read: ReadSubmission) -> Admission:
    rows: list[RawRow] = []
    problems: list[RowProblem] = []
    for index, value in enumerate(request.values):
        row = _admit(rules, request, value, read)
        if isinstance(row, RawRow):
            rows.append(row)
        else:
            fault, found = row
            problems.extend(RowProblem(index, fault, problem) for problem in found)
    return Admission((), tuple(problems)) if problems else Admission(tuple(rows), ())


def _admit(
    rules: Rules, request: Request, value: bytes, read: ReadSubmission
) -> RawRow | tuple[Fault, tuple[Problem, ...]]:
    if len(value) > MAX_VALUE_BYTES:
        large = Problem("", f"the row has {len(value)} bytes", f"send at most {MAX_VALUE_BYTES}")
        return Fault.TOO_LARGE, (large,)
    try:
        submission = read(value, request.headers, request.recorded_at)
    except UnreadableError as error:
        return Fault.UNREADABLE, (error.problem,)
    headers = request.headers
    if request.labels_only and submission.kind is Kind.EVENT:
        submission = as_label(submission)
        headers = {**headers, "ce_type": LABEL_TYPE.encode()}
    valid = _valid(rules, submission)
    if isinstance(valid, Refusal):
        return Fault.INVALID, valid.problems
    return RawRow(_key(valid), value, headers)


def _valid(rules: Rules, submission: Submission) -> ValidEvent | ValidLabel | Refusal:
    """The reader's rules, and one more: a label must find its event, whose time is kept in the event's own partition."""
    valid = validate(rules, submission)
    if isinstance(valid, ValidLabel) and valid.entity is None and rules.aggregates_labels:
        fix = "features of this pipeline aggregate labels: send the entity that the event has"
        return Refusal((Problem("entity", "is missing", fix),))
    return valid


def _key(valid: ValidEvent | ValidLabel) -> str:
    """Events of one entity, and their labels, go into one partition; without an entity, those of one event id."""
    if isinstance(valid, ValidEvent):
        return valid.accepted.entity or valid.accepted.event_id
    return valid.entity or valid.event_id
