"""The pipelines heard of: each version that an event may still name, made ready when the first event names it."""

from millrace_features.domain.events import PipelineApplied
from millrace_features.domain.plan import Plan, plan
from millrace_kernel.errors import TransientError
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import Pipeline


class PipelinesHeard:
    """`Plans` in memory, folded from the topic's beginning in every instance."""

    def __init__(self) -> None:
        self._pipelines: dict[tuple[PipelineName, int], Pipeline] = {}
        self._plans: dict[tuple[PipelineName, int], Plan] = {}
        self._ended: set[PipelineName] = set()

    def apply(self, event: PipelineApplied) -> None:
        """Remember its versions. A version never changes, so history may be told twice."""
        for pipeline in event.versions:
            self._pipelines.setdefault((pipeline.name, pipeline.version), pipeline)
        self._ended.discard(event.pipeline)

    def end(self, name: PipelineName) -> None:
        """Events of it that are still on their way are computed while its versions are known, and then ignored."""
        self._ended.add(name)

    def of(self, pipeline: PipelineName, version: int) -> Plan | None:
        key = (pipeline, version)
        ready = self._plans.get(key)
        if ready is not None:
            return ready
        if key in self._pipelines:
            return self._plans.setdefault(key, plan(self._pipelines[key]))
        if pipeline in self._ended:
            return None
        raise TransientError(
            f"version {version} of pipeline {pipeline} has not been heard of on millrace.pipelines yet"
        )
