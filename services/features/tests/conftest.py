"""What the tests of features share: pipelines, and the heart on plain values."""

import math
from collections.abc import Sequence

import pytest

from millrace_contracts.pipeline_file import read_pipeline
from millrace_features.application.handlers import on_event, on_label
from millrace_features.application.pipelines import PipelinesHeard
from millrace_features.domain.events import (
    EventAccepted,
    EventLabelled,
    FeaturesComputed,
    PipelineApplied,
)
from millrace_features.domain.history import History
from millrace_kernel.ids import EntityId, EventId, PipelineName
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import SECOND, Instant

FILE = """
apiVersion: millrace/v1
kind: Pipeline
metadata: {{name: bikes}}
spec:
  event:    {{id: id, time: at, entity: station, lateness: {lateness}}}
  fields:   {{{fields}}}
  features: [{features}]
  label:    {{field: cnt, kind: regression, delay: 1s, maturity: {maturity}}}
"""


class Remembered:
    """The fake of `Histories`."""

    def __init__(self) -> None:
        self.histories: dict[tuple[str, str], History] = {}

    def of(self, pipeline: PipelineName, entity: EntityId) -> History | None:
        return self.histories.get((pipeline, entity))

    def put(self, pipeline: PipelineName, entity: EntityId, history: History) -> None:
        self.histories[pipeline, entity] = history


class Heart:
    """Says in seconds what happens, and gives vectors by feature name."""

    def __init__(self, *pipelines: Pipeline) -> None:
        self.plans = PipelinesHeard()
        self.remembered = Remembered()
        self.pipelines = {pipeline.version: pipeline for pipeline in pipelines}
        self.plans.apply(PipelineApplied(pipelines[-1].name, pipelines))

    def event(
        self, event_id: str, at: float, *numbers: float, texts: Sequence[str] = (), **more
    ) -> dict:
        vector = self.vector(event_id, at, *numbers, texts=texts, **more)
        pipeline = self.pipelines[vector.pipeline_version]
        names = [feature.name for feature in pipeline.numbers]
        categories = [feature.name for feature in pipeline.categories]
        named = dict(zip(names, vector.numbers, strict=True))
        return named | dict(zip(categories, vector.categories, strict=True)) | {"late": vector.late}

    def vector(
        self,
        event_id: str,
        at: float,
        *numbers: float,
        texts: Sequence[str] = (),
        entity="e",
        version=0,
    ) -> FeaturesComputed:
        event = EventAccepted(
            PipelineName("bikes"),
            version or max(self.pipelines),
            EventId(event_id),
            EntityId(entity),
            Instant(round(at * SECOND)),
            numbers,
            tuple(texts),
        )
        (vector,) = on_event(event, self.plans, self.remembered)
        return vector

    def label(
        self, event_id: str, at: float, known_at: float, value=math.nan, entity="e", version=0
    ) -> None:
        times = Instant(round(at * SECOND)), Instant(round(known_at * SECOND))
        number = version or max(self.pipelines)
        event = EventLabelled(
            PipelineName("bikes"), number, EventId(event_id), EntityId(entity), *times, value
        )
        assert not list(on_label(event, self.plans, self.remembered))

    def history(self, entity: str = "e") -> History:
        return self.remembered.histories["bikes", entity]


@pytest.fixture(scope="session")
def pipeline():
    """Makes a pipeline: `pipeline("{name: a, expr: x + 1}", fields="x: float")`."""

    def make(*features, fields="x: float", lateness="4s", maturity="1s", version=1) -> Pipeline:
        listed = ", ".join(features)
        file = FILE.format(features=listed, fields=fields, lateness=lateness, maturity=maturity)
        return read_pipeline(file, version=version)

    return make


@pytest.fixture(scope="session")
def heart(pipeline):
    """Makes a heart that has one pipeline in force, with features as of `pipeline`."""

    def make(*features, **more) -> Heart:
        return Heart(pipeline(*features, **more))

    return make


@pytest.fixture(scope="session")
def heart_of():
    """Makes a heart with several versions of a pipeline."""
    return Heart
