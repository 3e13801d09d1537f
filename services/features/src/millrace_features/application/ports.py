"""What the handlers need from outside."""

from typing import Protocol

from millrace_features.domain.history import History
from millrace_features.domain.plan import Plan
from millrace_kernel.ids import EntityId, PipelineName


class Plans(Protocol):
    """The pipeline versions that have been heard of."""

    def of(self, pipeline: PipelineName, version: int) -> Plan | None:
        """The plan; None for a pipeline that was ended. Raises TransientError for one that is still on its way."""


class Histories(Protocol):
    """What this partition remembers, by pipeline and entity. Histories are values: put a new one, never change one."""

    def of(self, pipeline: PipelineName, entity: EntityId) -> History | None: ...
    def put(self, pipeline: PipelineName, entity: EntityId, history: History) -> None: ...
