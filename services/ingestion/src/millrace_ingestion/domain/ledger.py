"""What one raw partition remembers of an event id, and what a valid event or label does with it.

`decide` says what follows, `evolve` what is known afterwards: from its outputs alone, so the two can't disagree.
"""

from collections.abc import Iterator
from typing import NamedTuple

from millrace_ingestion.domain.events import (
    EventAccepted,
    EventLabelled,
    LabelObserved,
    LabelRetracted,
    LabelValue,
    Output,
    ValidEvent,
    ValidLabel,
)
from millrace_ingestion.domain.problems import Problem, Refusal
from millrace_kernel.ids import EntityId
from millrace_kernel.time import Instant


class Happened(NamedTuple):
    """When an event happened, and to what."""

    time: Instant
    entity: EntityId


class Known(NamedTuple):
    happened: Happened | None = None  # None: no such event has been accepted here
    label: LabelValue | None = None
    retracted: bool = False  # the label that was known has been taken back

    @property
    def has_said_a_label(self) -> bool:
        return self.label is not None or self.retracted


NOTHING = Known()


def decide(
    known: Known, valid: ValidEvent | ValidLabel, *, aggregates_labels: bool
) -> tuple[Output, ...] | Refusal:
    """What a valid event or label leads to. Nothing, when all of it was known before."""
    if isinstance(valid, ValidEvent):
        if valid.label is None:  # nearly all
            return (valid.accepted,) if known.happened is None else ()
        return tuple(_event(known, valid, aggregates_labels))
    return _label(known, valid, aggregates_labels)


def evolve(known: Known, output: Output) -> Known:
    match output:
        case EventAccepted(event_time=time, entity=entity):
            return Known(Happened(time, entity), known.label, known.retracted)
        case LabelObserved(value=value):
            return Known(known.happened, label=value)
        case LabelRetracted():
            return Known(known.happened, retracted=True)
        case EventLabelled():
            return known


def _event(known: Known, valid: ValidEvent, aggregates_labels: bool) -> Iterator[Output]:
    accepted = valid.accepted
    if known.happened is None:
        yield accepted
    elif known.has_said_a_label:
        return  # a duplicate: it must not bring back a label that has been corrected since
    happened = known.happened or Happened(accepted.event_time, accepted.entity)
    if valid.label is not None and valid.label != known.label:
        label = ValidLabel(
            accepted.pipeline,
            accepted.pipeline_version,
            accepted.event_id,
            valid.label,
            valid.label_known_at,
        )
        yield from _outputs(label, happened if aggregates_labels else None)


def _label(
    known: Known, label: ValidLabel, aggregates_labels: bool
) -> tuple[Output, ...] | Refusal:
    if known.retracted if label.value is None else label.value == known.label:
        return ()
    if not aggregates_labels:
        return tuple(_outputs(label, None))
    happened = known.happened or _said(label)
    if happened is None:
        return _nobody_knows_when(label)
    return tuple(_outputs(label, happened))


def _outputs(label: ValidLabel, happened: Happened | None) -> Iterator[Output]:
    """The label for those who train and watch; and, if `happened`, for the features of its entity."""
    pipeline, version, event_id, value = (
        label.pipeline,
        label.pipeline_version,
        label.event_id,
        label.value,
    )
    if value is None:
        yield LabelRetracted(pipeline, version, event_id, label.known_at)
    else:
        yield LabelObserved(pipeline, version, event_id, label.known_at, value)
    if happened is not None:
        number = None if isinstance(value, str) else value
        yield EventLabelled(
            pipeline,
            version,
            event_id,
            happened.entity,
            happened.time,
            label.known_at,
            number,
            retracted=value is None,
        )


def _said(label: ValidLabel) -> Happened | None:
    if label.entity is None or label.event_time is None:
        return None
    return Happened(label.event_time, label.entity)


def _nobody_knows_when(label: ValidLabel) -> Refusal:
    missing = [
        name
        for name, value in (("entity", label.entity), ("event_time", label.event_time))
        if value is None
    ]
    problem = Problem(
        missing[0],
        f"event {label.event_id!r} has not been seen in this partition, and the label does not say its {' and '.join(missing)}",
        "features of this pipeline aggregate labels: send the label with the key of its event, after it, "
        "or with entity and event_time",
    )
    return Refusal((problem,))
