"""What comes in and what goes out, as values. Those that every event makes are named tuples: a quarter of the time."""

from dataclasses import dataclass
from typing import NamedTuple

from millrace_kernel.ids import EntityId, EventId, PipelineName
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant


class EventAccepted(NamedTuple):
    """Something happened to an entity. The order of numbers and texts is that of the pipeline version's fields."""

    pipeline: PipelineName
    pipeline_version: int
    event_id: EventId
    entity: EntityId
    event_time: Instant
    numbers: tuple[float, ...]  # NaN: missing
    texts: tuple[str, ...]  # "": missing


@dataclass(frozen=True, slots=True)
class EventLabelled:
    """The truth about an earlier event of the entity, as it was known from `known_at` on."""

    pipeline: PipelineName
    pipeline_version: int
    event_id: EventId
    entity: EntityId
    event_time: Instant
    known_at: Instant
    value: float  # NaN: retracted, or not a number


class FeaturesComputed(NamedTuple):
    """The vector of one event. Numbers and categories stand in the order of the pipeline version's features."""

    pipeline: PipelineName
    pipeline_version: int
    event_id: EventId
    entity: EntityId
    event_time: Instant
    numbers: tuple[float, ...]  # NaN: missing
    categories: tuple[str, ...]  # "": missing
    late: bool  # came too late to be put in order: lags and aggregates are missing on purpose


@dataclass(frozen=True, slots=True)
class PipelineApplied:
    """A pipeline file is in force: the last of `versions`; the earlier ones may still be named by events."""

    pipeline: PipelineName
    versions: tuple[Pipeline, ...]
