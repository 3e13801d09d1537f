"""What the handlers need: memory that commits together with what they say. All calls of one transaction."""

from typing import Protocol

from millrace_kernel.ids import EventId, PipelineName
from millrace_kernel.time import Instant
from millrace_monitoring.domain.joins import Waiting
from millrace_monitoring.domain.monitor import Monitor
from millrace_monitoring.domain.pipelines import WatchedPipeline
from millrace_monitoring.domain.windows import Reference


class Pipelines(Protocol):
    def of(self, name: PipelineName) -> WatchedPipeline | None: ...
    def put(self, watched: WatchedPipeline) -> None: ...


class References(Protocol):
    """The champions in force with their profiles."""

    def of(self, pipeline: PipelineName) -> Reference | None: ...
    def put(self, pipeline: PipelineName, reference: Reference) -> None: ...


class Monitors(Protocol):
    def of(self, pipeline: PipelineName) -> Monitor:
        """What is remembered, as nobody else can change it until this transaction ends. Ask before any `Joins`."""
        ...

    def put(self, pipeline: PipelineName, monitor: Monitor) -> None: ...


class Joins(Protocol):
    """The sides of events that wait for their other side."""

    def of(self, pipeline: PipelineName, event_id: EventId) -> Waiting: ...
    def put(self, pipeline: PipelineName, event_id: EventId, waiting: Waiting) -> None: ...
    def forget_before(self, pipeline: PipelineName, number: int, since: Instant) -> None:
        """What began to wait before this number and before this recorded time waits no more."""
        ...


class Overview(Protocol):
    """What is remembered, for those who only look."""

    def names(self) -> list[PipelineName]: ...
    def of(
        self, pipeline: PipelineName
    ) -> tuple[WatchedPipeline, Reference | None, Monitor] | None:
        """None: no such pipeline."""
        ...
