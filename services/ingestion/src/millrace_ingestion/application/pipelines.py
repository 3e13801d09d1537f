"""The pipelines in force, as this instance has heard of them, and which of them read a topic."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from millrace_ingestion.domain.validation import Rules, compile_rules
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Route:
    """A pipeline that reads a topic. `labels_only`: everything there is a label, whatever its type says."""

    rules: Rules
    labels_only: bool


class PipelinesInForce:
    """The newest version of each pipeline. Read by handlers at any time, changed between batches only."""

    def __init__(self) -> None:
        self._pipelines: dict[PipelineName, Pipeline] = {}
        self._rules: dict[PipelineName, Rules] = {}
        self._routes: dict[str, tuple[Route, ...]] = {}

    def apply(self, pipeline: Pipeline) -> None:
        """Put a version in force; an older one than is known changes nothing (history may be told twice)."""
        known = self._pipelines.get(pipeline.name)
        if known is not None and known.version > pipeline.version:
            return
        self._pipelines[pipeline.name] = pipeline
        self._rules[pipeline.name] = compile_rules(pipeline)
        self._route_again()

    def remove(self, name: PipelineName) -> None:
        if self._pipelines.pop(name, None) is not None:
            del self._rules[name]
            self._route_again()

    def routes(self, topic: str) -> tuple[Route, ...]:
        """Who reads this topic, by name: an order that is the same on every machine."""
        return self._routes.get(topic, ())

    def rules(self, name: str) -> Rules | None:
        return self._rules.get(PipelineName(name))

    def topic(self, name: str) -> str:
        """Where this pipeline's events come from. Raises KeyError when it is not in force."""
        return self._pipelines[PipelineName(name)].topic

    @property
    def topics(self) -> Collection[str]:
        return self._routes.keys()

    @property
    def names(self) -> list[str]:
        return sorted(self._pipelines)

    def _route_again(self) -> None:
        routes: Mapping[str, list[Route]] = defaultdict(list)
        for name in self.names:
            for topic, route in self._routes_of(PipelineName(name)):
                routes[topic].append(route)
        self._routes = {topic: tuple(readers) for topic, readers in routes.items()}

    def _routes_of(self, name: PipelineName) -> Iterator[tuple[str, Route]]:
        pipeline, rules = self._pipelines[name], self._rules[name]
        yield pipeline.topic, Route(rules, labels_only=False)
        if pipeline.label.topic not in (None, pipeline.topic):
            yield pipeline.label.topic, Route(rules, labels_only=True)
