"""What comes in and what goes out, as values. Those that every event makes are named tuples: a quarter of the time."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from millrace_kernel.ids import EntityId, EventId, PipelineName
from millrace_kernel.time import Instant

LabelValue = float | str  # regression: the value; binary: 0.0 or 1.0; multiclass: the class
LABEL_TYPE = "millrace.label"  # a CloudEvent of this type is a label: {id, label, entity?, known_at?, event_time?}
RETRACTION_TYPE = (
    "millrace.label.retraction"  # takes a label back: {id, entity?, known_at?, event_time?}
)
MAX_VALUE_BYTES = (
    1_000_000  # of one raw message: below Kafka's default for a record, with room for headers
)
NO_ENTITY = EntityId("")  # the pipeline as a whole is the one entity


class Kind(Enum):
    """What a raw message is about."""

    EVENT = "event"
    LABEL = "label"
    RETRACTION = "retraction"


class Submission(NamedTuple):
    """One raw message, decoded: a user's JSON object and what was said around it."""

    kind: Kind
    body: dict[str, Any]
    recorded_at: Instant
    id: str | None = None  # CloudEvents', which count for an event whose object has none of its own
    time: str | None = None


class EventAccepted(NamedTuple):
    pipeline: PipelineName
    pipeline_version: int
    event_id: EventId
    entity: EntityId
    event_time: Instant
    numbers: tuple[float, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventLabelled:
    """For features that aggregate labels: in the order of the entity's own events."""

    pipeline: PipelineName
    pipeline_version: int
    event_id: EventId
    entity: EntityId
    event_time: Instant
    known_at: Instant
    number: float | None
    retracted: bool = False


@dataclass(frozen=True, slots=True)
class LabelObserved:
    pipeline: PipelineName
    pipeline_version: int
    event_id: EventId
    known_at: Instant
    value: LabelValue


@dataclass(frozen=True, slots=True)
class LabelRetracted:
    pipeline: PipelineName
    pipeline_version: int
    event_id: EventId
    known_at: Instant


Output = EventAccepted | EventLabelled | LabelObserved | LabelRetracted


class ValidEvent(NamedTuple):
    accepted: EventAccepted
    label: LabelValue | None  # the truth, when the event brought it along
    label_known_at: Instant


@dataclass(frozen=True, slots=True)
class ValidLabel:
    pipeline: PipelineName
    pipeline_version: int
    event_id: EventId
    value: LabelValue | None  # None: a retraction
    known_at: Instant
    entity: EntityId | None = None
    event_time: Instant | None = None
