"""What monitoring's tests share: builders that let a test state only what matters to it, and the heart on fakes of its ports."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from millrace_kernel.ids import EventId, ModelVersionNumber, PipelineName
from millrace_kernel.pipeline import LabelKind, Monitoring, Promotion, Strategy
from millrace_kernel.profile import ReferenceProfile, category_column, number_column
from millrace_kernel.time import DAY, HOUR, MINUTE, Duration, Instant
from millrace_monitoring.application import handlers
from millrace_monitoring.domain.events import (
    ChallengerEnded,
    ChallengerStarted,
    Event,
    LabelObserved,
    LabelRetracted,
    ModelPromoted,
    ModelRolledBack,
    PipelineApplied,
    PredictionMade,
    Role,
)
from millrace_monitoring.domain.joins import NOTHING, Waiting
from millrace_monitoring.domain.monitor import Monitor
from millrace_monitoring.domain.pipelines import Shape, WatchedPipeline
from millrace_monitoring.domain.windows import Reference

BIKES = PipelineName("bikes")
NOON = Instant(1_700_000_000_000_000)
SHAPE = Shape(("temp", "hum"), ("weather",))
WEATHERS = ("sun", "rain", "snow")
WEIGHTS = (0.7, 0.25, 0.05)

MONITORING = Monitoring(
    window=100,
    data_drift_method="psi",
    data_drift_threshold=0.2,
    prediction_drift_threshold=0.2,
    concept_drift_detector="adwin",
    concept_drift_delta=0.002,
    performance_tolerance=0.25,
)


def make_watched(
    kind: LabelKind = LabelKind.REGRESSION,
    *,
    window: int = 100,
    shapes: Mapping[int, Shape] | None = None,
    promotion: Promotion | None = None,
) -> WatchedPipeline:
    return WatchedPipeline(
        name=BIKES,
        version=1,
        label_kind=kind,
        monitoring=replace(MONITORING, window=window),
        patience=Duration(7 * DAY),
        shapes=shapes or {1: SHAPE},
        promotion=promotion or Promotion(Strategy.DIRECT, 0),
    )


def temperatures(rng: np.random.Generator, count: int, mean: float = 15.0) -> list[float]:
    return [rng.normal(mean, 5.0) for _ in range(count)]


def make_profile(
    rows: int = 5000, *, metrics: Mapping[str, float] | None = None, missing: float = 0.0
) -> ReferenceProfile:
    """temp about 15 +- 5, hum uniform, mostly sun; answers about 100 +- 20; errors of about 8."""
    rng = np.random.default_rng(42)
    temps = [math.nan if rng.random() < missing else temp for temp in temperatures(rng, rows)]
    return ReferenceProfile(
        columns=(
            number_column("temp", temps),
            number_column("hum", [rng.random() for _ in range(rows)]),
            category_column("weather", rng.choice(WEATHERS, rows, p=WEIGHTS).tolist()),
        ),
        prediction=number_column("prediction", [rng.normal(100.0, 20.0) for _ in range(1000)]),
        metrics=metrics or {"mae": 8.0, "rmse": 10.0, "r2": 0.8},
        primary_metric=next(iter(metrics)) if metrics else "mae",
        rows=rows,
    )


def make_promotion(
    epoch: int = 1, version: int = 1, profile: ReferenceProfile | None = None
) -> ModelPromoted:
    return ModelPromoted(
        id=f"promoted-{epoch}",
        pipeline=BIKES,
        version=ModelVersionNumber(version),
        epoch=epoch,
        profile=profile or make_profile(),
    )


def make_prediction(number: int = 0, **changes: object) -> PredictionMade:
    prediction = PredictionMade(
        id=f"prediction-{number}",
        pipeline=BIKES,
        pipeline_version=1,
        event_id=EventId(f"event-{number}"),
        event_time=Instant(NOON + number * MINUTE),
        recorded_at=Instant(NOON + number * MINUTE),
        model_version=ModelVersionNumber(1),
        epoch=1,
        role=Role.CHAMPION,
        answer=100.0,
        numbers=(15.0, 0.5),
        categories=("sun",),
    )
    return replace(prediction, **changes)  # type: ignore[arg-type]  # a test's own fields


def make_label(number: int = 0, truth: float | str = 100.0, **changes: object) -> LabelObserved:
    label = LabelObserved(
        id=f"label-{number}",
        pipeline=BIKES,
        event_id=EventId(f"event-{number}"),
        recorded_at=Instant(NOON + number * MINUTE + HOUR),
        truth=truth,
    )
    return replace(label, **changes)  # type: ignore[arg-type]  # a test's own fields


def make_traffic(
    rng: np.random.Generator,
    count: int,
    *,
    first: int = 0,
    mean: float = 15.0,
    missing: float = 0.0,
) -> Iterator[PredictionMade]:
    """Predictions as `make_profile` would have them; `mean` shifts temp, `missing` takes temp away."""
    temps = np.where(rng.random(count) < missing, math.nan, rng.normal(mean, 5.0, count)).tolist()
    hums = rng.random(count).tolist()
    weathers = rng.choice(WEATHERS, count, p=WEIGHTS).tolist()
    answers = rng.normal(100.0, 20.0, count).tolist()
    for number in range(count):
        yield make_prediction(
            first + number,
            numbers=(temps[number], hums[number]),
            categories=(weathers[number],),
            answer=answers[number],
        )


def make_labels(
    rng: np.random.Generator, predictions: Iterable[PredictionMade], *, error: float = 10.0
) -> Iterator[LabelObserved]:
    """Truths about the answers: normal errors with this standard deviation, so a mean of 0.8 of it."""
    for prediction in predictions:
        assert isinstance(prediction.answer, float)
        yield LabelObserved(
            id=f"label-of-{prediction.event_id}",
            pipeline=prediction.pipeline,
            event_id=prediction.event_id,
            recorded_at=Instant(prediction.recorded_at + HOUR),
            truth=prediction.answer + rng.normal(0.0, error),
        )


Heard = (
    PipelineApplied
    | PredictionMade
    | LabelObserved
    | LabelRetracted
    | ModelPromoted
    | ModelRolledBack
    | ChallengerStarted
    | ChallengerEnded
)


class FakePipelines(dict[PipelineName, WatchedPipeline]):
    def of(self, name: PipelineName) -> WatchedPipeline | None:
        return self.get(name)

    def put(self, watched: WatchedPipeline) -> None:
        self[watched.name] = watched


class FakeReferences(dict[PipelineName, Reference]):
    def of(self, pipeline: PipelineName) -> Reference | None:
        return self.get(pipeline)

    def put(self, pipeline: PipelineName, reference: Reference) -> None:
        self[pipeline] = reference


class FakeMonitors(dict[PipelineName, Monitor]):
    def of(self, pipeline: PipelineName) -> Monitor:
        return self.get(pipeline, Monitor())

    def put(self, pipeline: PipelineName, monitor: Monitor) -> None:
        self[pipeline] = monitor


class FakeJoins(OrderedDict[tuple[PipelineName, EventId], Waiting]):
    def of(self, pipeline: PipelineName, event_id: EventId) -> Waiting:
        return self.get((pipeline, event_id), NOTHING)

    def put(self, pipeline: PipelineName, event_id: EventId, waiting: Waiting) -> None:
        if waiting.is_over:
            self.pop((pipeline, event_id), None)
        else:
            self[pipeline, event_id] = waiting

    def forget_before(self, pipeline: PipelineName, number: int, since: Instant) -> None:
        over = [
            key
            for key, waiting in islice(
                self.items(), 10
            )  # the oldest: calls are many, and each forgets a few
            if key[0] == pipeline and waiting.number < number and waiting.since < since
        ]
        for key in over:
            del self[key]


class Heart:
    """The service without Kafka and SQL: what it hears goes to the handlers, what it says is kept."""

    def __init__(self, *watched: WatchedPipeline) -> None:
        self.pipelines = FakePipelines({one.name: one for one in watched})
        self.references = FakeReferences()
        self.monitors = FakeMonitors()
        self.joins = FakeJoins()
        self.said: list[Event] = []

    def hear(self, events: Iterable[Heard] | Heard) -> list[Event]:
        """What it answers to these events."""
        heard = [events] if isinstance(events, Heard) else events
        said = [event for one in heard for event in self._handler(one)(one)]
        self.said += said
        return said

    def _handler(self, event: Heard) -> Callable[..., Iterable[Event]]:
        state = {"pipelines": self.pipelines, "monitors": self.monitors}
        match event:
            case PipelineApplied():
                return lambda one: handlers.on_pipeline_applied(one, self.pipelines)
            case ModelPromoted() | ModelRolledBack():
                return lambda one: handlers.on_champion(one, references=self.references, **state)
            case ChallengerStarted() | ChallengerEnded():
                return lambda one: handlers.on_challenger(one, **state)
            case PredictionMade():
                return lambda one: handlers.on_prediction(
                    one, references=self.references, joins=self.joins, **state
                )
            case LabelObserved():
                return lambda one: handlers.on_label(
                    one, references=self.references, joins=self.joins, **state
                )
            case LabelRetracted():
                return lambda one: handlers.on_label_retracted(one, joins=self.joins, **state)


@pytest.fixture(scope="session")
def watching():
    return make_watched


@pytest.fixture(scope="session")
def a_profile():
    return make_profile


@pytest.fixture(scope="session")
def promoted():
    return make_promotion


@pytest.fixture(scope="session")
def a_prediction():
    return make_prediction


@pytest.fixture(scope="session")
def a_label():
    return make_label


@pytest.fixture(scope="session")
def traffic():
    return make_traffic


@pytest.fixture(scope="session")
def labels_of():
    return make_labels


@pytest.fixture(scope="session")
def new_heart():
    return Heart
