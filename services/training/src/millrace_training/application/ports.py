"""What the handlers need of the world. One transaction stands behind all of it: it happens as a whole or not at all."""

from typing import Protocol

from millrace_kernel.errors import TransientError
from millrace_kernel.ids import EventId, PipelineName
from millrace_kernel.time import Instant
from millrace_training.application.overview import (
    CostsView,
    DatasetView,
    DecisionView,
    RunDetail,
    RunView,
    StatusView,
)
from millrace_training.domain.events import (
    CardOutcome,
    Decision,
    FeaturesComputed,
    LabelObserved,
    LabelRetracted,
    ModelPromoted,
    PipelineApplied,
    RunOutcome,
    RunStarted,
    RunTried,
)
from millrace_training.domain.policies import Policy
from millrace_training.domain.retraining import History, NextDue


class UnknownPipelineError(TransientError):
    """The pipeline's file has not been heard of: it is on its way on another topic."""


class Origin(Protocol):
    """What is being handled, as the bus knows it. Kept with a run, so that what comes of it names its cause and trace."""

    @property
    def id(self) -> str: ...


class Pipelines(Protocol):
    """What each pipeline's file says and what became of it so far."""

    def policy(self, name: PipelineName) -> Policy:
        """Raises UnknownPipelineError."""

    def knows(self, name: PipelineName) -> bool: ...

    def apply(self, event: PipelineApplied) -> None:
        """Remember the files; an older one than the one in force stays history."""

    def history(self, name: PipelineName) -> History: ...
    def put(self, name: PipelineName, history: History) -> None: ...


class Lake(Protocol):
    """Everything that can be learnt from, for good. An event given again (by its place) is kept once."""

    def add_vector(self, event: FeaturesComputed) -> None: ...
    def add_label(self, event: LabelObserved | LabelRetracted) -> None: ...


class LabelledRows(Protocol):
    """How many events have both a vector and a label that stands, exactly."""

    def vector(self, pipeline: PipelineName, event_id: EventId, version: int) -> None: ...
    def label(
        self, pipeline: PipelineName, event_id: EventId, known_at: Instant, *, stands: bool
    ) -> None:
        """A label was observed (it stands) or retracted; of several, the one known last counts."""

    def count(self, pipeline: PipelineName, versions: frozenset[int]) -> int:
        """Of the vectors of these versions of the file."""

    def reach(self, pipeline: PipelineName, versions: frozenset[int], rows: int) -> bool:
        """Whether there are as many. Cheap while there cannot be, so that it may be asked for every event."""


class Journal(Protocol):
    """Decisions and runs, for the runner, for people and for good."""

    def decided(self, decision: Decision, at: Instant, origin: Origin) -> None:
        """Keep the decision; a request's run now waits for the runner."""

    def started(self, event: RunStarted) -> None: ...
    def tried(self, event: RunTried) -> None:
        """Keep the trial, so that the run need not repeat it whatever befalls it."""

    def ended(self, outcome: RunOutcome) -> None: ...
    def carded(self, outcome: CardOutcome) -> None:
        """The run's card is made, or never will be; what it cost is part of what the run cost."""

    def promoted(self, event: ModelPromoted) -> None:
        """The run's model became the champion: what was spent on it was not in vain."""


class Books(Protocol):
    """All that this service keeps, in one transaction."""

    @property
    def pipelines(self) -> Pipelines: ...
    @property
    def lake(self) -> Lake: ...
    @property
    def labelled(self) -> LabelledRows: ...
    @property
    def journal(self) -> Journal: ...
    @property
    def next_due(self) -> NextDue:
        """The calendar that schedules are read by."""


class Overview(Protocol):
    """What people may look at. Never waits for the worker, nor the worker for it."""

    def pipelines(self) -> list[PipelineName]: ...
    def status(self, name: PipelineName) -> StatusView | None:
        """None for a pipeline that was not heard of."""

    def runs(self, name: PipelineName, most: int) -> list[RunView]: ...
    def run(self, name: PipelineName, number: int) -> RunDetail | None: ...
    def datasets(self, name: PipelineName, most: int) -> list[DatasetView]: ...
    def costs(self, name: PipelineName) -> CostsView: ...
    def decisions(self, name: PipelineName, most: int) -> list[DecisionView]:
        """Runs, datasets, decisions: the newest first."""
