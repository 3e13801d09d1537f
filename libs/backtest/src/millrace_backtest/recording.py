"""Recorded messages through the hearts of ingestion and of the features: once, whatever policies are tried afterwards.

Neither depends on which model answers, so every policy and every baseline is played over the same vectors and labels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import orjson
from numpy.typing import NDArray
from typing_extensions import override

from millrace_backtest.errors import BacktestError
from millrace_features.application.handlers import on_event, on_label
from millrace_features.application.ports import Histories, Plans
from millrace_features.domain import events as of_features
from millrace_features.domain.history import History
from millrace_features.domain.plan import Plan, plan
from millrace_ingestion.application.handlers import on_submission
from millrace_ingestion.application.pipelines import Route
from millrace_ingestion.application.ports import Ledger
from millrace_ingestion.domain import events as of_ingestion
from millrace_ingestion.domain.events import LABEL_TYPE, Kind, LabelValue, Submission
from millrace_ingestion.domain.ledger import NOTHING, Known
from millrace_ingestion.domain.validation import compile_rules
from millrace_kernel.ids import EntityId, EventId, PipelineName
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant

NO_NUMBER = float("nan")
_REFUSALS_SHOWN = 3
_MOSTLY = 0.5  # of the messages: when more are refused, the file is not of this pipeline


class Sent(Protocol):
    """One message as its producer sent it. `headers` holds `ce_type` for a label."""

    @property
    def recorded_at(self) -> Instant: ...
    @property
    def value(self) -> bytes: ...
    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]: ...


@dataclass(frozen=True, slots=True)
class Told:
    """What was said about one event's label. `value` None: it was taken back."""

    event: int  # the event's place in the recording
    event_id: EventId
    known_at: Instant
    recorded_at: Instant
    value: LabelValue | None


@dataclass(frozen=True, slots=True)
class Refusals:
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Vectors and labels in the order in which they became known.

    `numbers` is float64 [events, columns], `recorded_at` and `event_times` int64 [events] (microseconds, the first ascending).
    `steps` holds what happened one after the other: an event's place, or `~place` of a label in `labels`.
    """

    pipeline: Pipeline
    event_ids: list[EventId]
    entities: list[EntityId]
    event_times: NDArray[np.int64]
    recorded_at: NDArray[np.int64]
    numbers: NDArray[np.float64]
    categories: list[tuple[str, ...]]
    labels: list[Told]
    steps: list[int]
    refused: Refusals

    def __len__(self) -> int:
        return len(self.event_ids)


def recorded(pipeline: Pipeline, messages: Iterable[Sent]) -> Recording:
    """Play messages, in the order of their recorded time. Raises BacktestError when most of them are refused."""
    recorder = _Recorder(pipeline)
    for message in messages:
        recorder.take(message)
    return recorder.recording()


class _Memory(Ledger):
    """The ledger of ingestion and the histories of the features, in memory."""

    def __init__(self) -> None:
        self._known: dict[EventId, Known] = {}
        self.histories = _Histories()

    @override
    def of(self, pipeline: PipelineName, event_id: EventId) -> Known:
        return self._known.get(event_id, NOTHING)

    @override
    def put(self, pipeline: PipelineName, event_id: EventId, known: Known) -> None:
        self._known[event_id] = known


class _Plans(Plans):
    def __init__(self, only: Plan) -> None:
        self._only = only

    @override
    def of(self, pipeline: PipelineName, version: int) -> Plan | None:
        return self._only


class _Histories(Histories):
    def __init__(self) -> None:
        self._histories: dict[EntityId, History] = {}

    @override
    def of(self, pipeline: PipelineName, entity: EntityId) -> History | None:
        return self._histories.get(entity)

    @override
    def put(self, pipeline: PipelineName, entity: EntityId, history: History) -> None:
        self._histories[entity] = history


class _Recorder:
    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._routes = (Route(compile_rules(pipeline), labels_only=False),)
        self._memory = _Memory()
        self._plans = _Plans(plan(pipeline))
        self._vectors: list[of_features.FeaturesComputed] = []
        self._recorded_at: list[int] = []
        self._places: dict[EventId, int] = {}
        self._labels: list[Told] = []
        self._steps: list[int] = []
        self._messages = 0
        self._refused = 0
        self._refusals: list[str] = []

    def take(self, message: Sent) -> None:
        self._messages += 1
        is_label = dict(message.headers).get("ce_type") == LABEL_TYPE.encode()
        kind = Kind.LABEL if is_label else Kind.EVENT
        submission = Submission(kind, orjson.loads(message.value), message.recorded_at)
        outcome = on_submission(submission, self._routes, self._memory)
        if outcome.refused is not None:
            self._refused += 1
            if len(self._refusals) < _REFUSALS_SHOWN:
                self._refusals.append(str(outcome.refused))
        for output in outcome.outputs:
            self._follow(output, message.recorded_at)

    def _follow(self, output: of_ingestion.Output, at: Instant) -> None:
        match output:
            case of_ingestion.EventAccepted():
                self._event(output, at)
            case of_ingestion.EventLabelled():
                self._labelled(output)
            case of_ingestion.LabelObserved(event_id=event_id, known_at=known_at, value=value):
                self._told(event_id, known_at, at, value)
            case of_ingestion.LabelRetracted(event_id=event_id, known_at=known_at):
                self._told(event_id, known_at, at, None)

    def _event(self, event: of_ingestion.EventAccepted, at: Instant) -> None:
        accepted = of_features.EventAccepted(
            event.pipeline,
            event.pipeline_version,
            event.event_id,
            event.entity,
            event.event_time,
            event.numbers,
            event.texts,
        )
        for vector in on_event(accepted, self._plans, self._memory.histories):
            place = len(self._vectors)
            self._places[event.event_id] = place
            self._vectors.append(vector)
            self._recorded_at.append(at)
            self._steps.append(place)

    def _labelled(self, event: of_ingestion.EventLabelled) -> None:
        labelled = of_features.EventLabelled(
            event.pipeline,
            event.pipeline_version,
            event.event_id,
            event.entity,
            event.event_time,
            event.known_at,
            NO_NUMBER if event.number is None else event.number,
        )
        for _ in on_label(labelled, self._plans, self._memory.histories):
            pass  # a label makes no vector

    def _told(
        self, event_id: EventId, known_at: Instant, at: Instant, value: LabelValue | None
    ) -> None:
        place = self._places.get(event_id)
        if place is None:
            return  # of an event that was refused: nothing can be learnt from it, and nothing answered it
        self._steps.append(~len(self._labels))
        self._labels.append(Told(place, event_id, known_at, at, value))

    def recording(self) -> Recording:
        if not self._vectors or self._refused > self._messages * _MOSTLY:
            said = "; ".join(self._refusals) or "there is no row"
            raise BacktestError(
                f"{self._refused} of {self._messages} messages are refused by pipeline {self._pipeline.name}: {said}"
            )
        vectors = self._vectors
        width = len(self._pipeline.numbers)
        numbers = np.array([vector.numbers for vector in vectors], dtype=np.float64)
        return Recording(
            pipeline=self._pipeline,
            event_ids=[vector.event_id for vector in vectors],
            entities=[vector.entity for vector in vectors],
            event_times=np.array([vector.event_time for vector in vectors], dtype=np.int64),
            recorded_at=np.array(self._recorded_at, dtype=np.int64),
            numbers=numbers.reshape(len(vectors), width),
            categories=[vector.categories for vector in vectors],
            labels=self._labels,
            steps=self._steps,
            refused=Refusals(self._refused, tuple(self._refusals)),
        )


def truths(recording: Recording) -> Mapping[int, LabelValue]:
    """The label of each event as it was known in the end."""
    known: dict[int, LabelValue] = {}
    for told in recording.labels:
        if told.value is None:
            known.pop(told.event, None)
        else:
            known[told.event] = told.value
    return known
