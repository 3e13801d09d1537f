"""One submission in, events out."""

from collections.abc import Sequence
from typing import NamedTuple

from millrace_ingestion.application.pipelines import Route
from millrace_ingestion.application.ports import Ledger
from millrace_ingestion.domain.events import Kind, Output, Submission, ValidEvent
from millrace_ingestion.domain.ledger import decide, evolve
from millrace_ingestion.domain.problems import Refusal
from millrace_ingestion.domain.validation import validate
from millrace_kernel.errors import PermanentError


class RefusedError(PermanentError):
    """At least one pipeline that reads the topic could not take the message; the text says which and why."""


class Outcome(NamedTuple):
    """What one submission led to. Pipelines decide for themselves: one may accept what another refuses."""

    outputs: tuple[Output, ...]
    refused: RefusedError | None


def on_submission(submission: Submission, routes: Sequence[Route], ledger: Ledger) -> Outcome:
    """Offer a submission to every pipeline that reads its topic."""
    outputs: list[Output] = []
    refusals: list[str] = []
    for route in routes:
        taken = _take(route, submission, ledger)
        if isinstance(taken, Refusal):
            refusals.append(f"pipeline {route.rules.pipeline} refuses it: {taken.text}")
        else:
            outputs.extend(taken)
    return Outcome(tuple(outputs), RefusedError("; ".join(refusals)) if refusals else None)


def as_label(submission: Submission) -> Submission:
    """Where only labels come, whatever is not a retraction is a label."""
    return submission._replace(kind=Kind.LABEL) if submission.kind is Kind.EVENT else submission


def _take(route: Route, submission: Submission, ledger: Ledger) -> tuple[Output, ...] | Refusal:
    rules = route.rules
    valid = validate(rules, as_label(submission) if route.labels_only else submission)
    if isinstance(valid, Refusal):
        return valid
    event_id = valid.accepted.event_id if isinstance(valid, ValidEvent) else valid.event_id
    known = ledger.of(rules.pipeline, event_id)
    outputs = decide(known, valid, aggregates_labels=rules.aggregates_labels)
    if isinstance(outputs, tuple) and outputs:
        for output in outputs:
            known = evolve(known, output)
        ledger.put(rules.pipeline, event_id, known)
    return outputs
