"""What each service remembers, in memory: its own ports, without a database behind them."""

from collections import Counter
from dataclasses import dataclass, field

from typing_extensions import override

from millrace_kernel.ids import EventId, ModelVersionNumber, PipelineName, RunId
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant
from millrace_monitoring.application import ports as monitoring
from millrace_monitoring.domain.joins import NOTHING, Waiting
from millrace_monitoring.domain.monitor import Monitor
from millrace_monitoring.domain.pipelines import WatchedPipeline
from millrace_monitoring.domain.windows import Reference
from millrace_registry.application import ports as registry
from millrace_registry.domain.events import (
    ApplyPipeline,
    Change,
    ModelCardMade,
    ModelRegistered,
    ModelVersion,
    TrainingCompleted,
    Verdict,
)
from millrace_registry.domain.events import PipelineApplied as AppliedFile
from millrace_registry.domain.models import Models
from millrace_registry.domain.pipelines import Applied
from millrace_training.adapters.calendar import next_due
from millrace_training.application import ports as training
from millrace_training.application.ports import Origin
from millrace_training.domain.events import (
    CardOutcome,
    Decision,
    FeaturesComputed,
    LabelObserved,
    LabelRetracted,
    ModelPromoted,
    PipelineApplied,
    RetrainRequested,
    RetrainSkipped,
    RunOutcome,
    RunStarted,
    RunTried,
)
from millrace_training.domain.policies import Policy, policy_of
from millrace_training.domain.retraining import NO_HISTORY, History, NextDue


class TrainingPipelines(training.Pipelines):
    """One pipeline, one version of its file."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._policy = policy_of(pipeline, (pipeline,))
        self._history = NO_HISTORY

    @override
    def policy(self, name: PipelineName) -> Policy:
        return self._policy

    @override
    def knows(self, name: PipelineName) -> bool:
        return True

    @override
    def apply(self, event: PipelineApplied) -> None:
        """Its file does not change."""

    @override
    def history(self, name: PipelineName) -> History:
        return self._history

    @override
    def put(self, name: PipelineName, history: History) -> None:
        self._history = history


class Lake(training.Lake):
    """The recording holds everything already."""

    @override
    def add_vector(self, event: FeaturesComputed) -> None: ...
    @override
    def add_label(self, event: LabelObserved | LabelRetracted) -> None: ...


class LabelledRows(training.LabelledRows):
    """Counts as it goes: vectors come before their labels, and labels in the order of knowing."""

    def __init__(self) -> None:
        self._standing: set[EventId] = set()

    @override
    def vector(self, pipeline: PipelineName, event_id: EventId, version: int) -> None: ...

    @override
    def label(
        self, pipeline: PipelineName, event_id: EventId, known_at: Instant, *, stands: bool
    ) -> None:
        if stands:
            self._standing.add(event_id)
        else:
            self._standing.discard(event_id)

    @override
    def count(self, pipeline: PipelineName, versions: frozenset[int]) -> int:
        return len(self._standing)

    @override
    def reach(self, pipeline: PipelineName, versions: frozenset[int], rows: int) -> bool:
        return len(self._standing) >= rows


@dataclass(slots=True)
class Journal(training.Journal):
    requested: list[RetrainRequested] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @override
    def decided(self, decision: Decision, at: Instant, origin: Origin) -> None:
        if isinstance(decision, RetrainSkipped):
            self.skipped[decision.reason.value] += 1
        else:
            self.requested.append(decision)

    @override
    def started(self, event: RunStarted) -> None: ...
    @override
    def tried(self, event: RunTried) -> None: ...
    @override
    def ended(self, outcome: RunOutcome) -> None: ...
    @override
    def carded(self, outcome: CardOutcome) -> None: ...
    @override
    def promoted(self, event: ModelPromoted) -> None: ...


@dataclass(frozen=True, slots=True)
class TrainingBooks:
    pipelines: TrainingPipelines
    lake: Lake
    labelled: LabelledRows
    journal: Journal
    next_due: NextDue = next_due


@dataclass(slots=True)
class MonitoringBooks:
    """Its four ports: of each there is one value, except the sides that wait."""

    watched: WatchedPipeline
    monitor: Monitor = field(default_factory=Monitor)
    reference: Reference | None = None
    waiting: dict[EventId, Waiting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WatchedPipelines(monitoring.Pipelines):
    books: MonitoringBooks

    @override
    def of(self, name: PipelineName) -> WatchedPipeline | None:
        return self.books.watched

    @override
    def put(self, watched: WatchedPipeline) -> None:
        self.books.watched = watched


@dataclass(frozen=True, slots=True)
class References(monitoring.References):
    books: MonitoringBooks

    @override
    def of(self, pipeline: PipelineName) -> Reference | None:
        return self.books.reference

    @override
    def put(self, pipeline: PipelineName, reference: Reference) -> None:
        self.books.reference = reference


@dataclass(frozen=True, slots=True)
class Monitors(monitoring.Monitors):
    books: MonitoringBooks

    @override
    def of(self, pipeline: PipelineName) -> Monitor:
        return self.books.monitor

    @override
    def put(self, pipeline: PipelineName, monitor: Monitor) -> None:
        self.books.monitor = monitor


@dataclass(frozen=True, slots=True)
class Joins(monitoring.Joins):
    """Every side is kept until it meets its other side: a recording has an end."""

    books: MonitoringBooks

    @override
    def of(self, pipeline: PipelineName, event_id: EventId) -> Waiting:
        return self.books.waiting.get(event_id, NOTHING)

    @override
    def put(self, pipeline: PipelineName, event_id: EventId, waiting: Waiting) -> None:
        if waiting.is_over:
            self.books.waiting.pop(event_id, None)
        else:
            self.books.waiting[event_id] = waiting

    @override
    def forget_before(self, pipeline: PipelineName, number: int, since: Instant) -> None: ...


class RegistryPipelines(registry.Pipelines):
    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    @override
    def of(self, name: PipelineName) -> Applied | None:
        return Applied(self._pipeline, "")

    @override
    def in_force(self, name: PipelineName) -> Pipeline | None:
        return self._pipeline

    @override
    def put(self, event: AppliedFile, command: ApplyPipeline) -> None:
        raise AssertionError("a backtest applies no other file")


class Versions(registry.Versions):
    """The registered versions, and how they stand."""

    def __init__(self, pipeline: PipelineName) -> None:
        self._models = Models(pipeline)
        self._registered: dict[ModelVersionNumber, ModelVersion] = {}

    @override
    def of(self, pipeline: PipelineName) -> Models:
        return self._models

    @override
    def of_run(self, pipeline: PipelineName, run_id: RunId) -> ModelVersionNumber | None:
        return None  # a backtest tells each outcome once

    @override
    def put(self, models: Models, change: Change, *, cause: str, at: Instant) -> None:
        self._models = models
        if isinstance(change, ModelRegistered):
            self._registered[change.model.version] = change.model

    @override
    def model(self, pipeline: PipelineName, version: ModelVersionNumber) -> ModelVersion:
        return self._registered[version]

    @override
    def verdicts(self, pipeline: PipelineName, version: ModelVersionNumber) -> tuple[Verdict, ...]:
        return ()

    @override
    def put_card(
        self, pipeline: PipelineName, version: ModelVersionNumber, card: ModelCardMade
    ) -> None:
        raise AssertionError("a backtest makes no cards")

    @override
    def done(self, pipeline: PipelineName, cause: str) -> bool:
        return False


class Seals(registry.Seals):
    """A backtest trusts its own models."""

    @override
    def problem(self, event: TrainingCompleted) -> str:
        return ""
