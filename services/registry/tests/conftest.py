"""What the registry's tests share: a pipeline's world, told in few words, on fakes of the ports."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from millrace_contracts.pipeline_file import pipeline_digest, read_pipeline
from millrace_kernel.ids import ModelVersionNumber, PipelineName, RunId
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant
from millrace_registry.application import handlers
from millrace_registry.domain import pipelines as files
from millrace_registry.domain.events import (
    ApplyPipeline,
    ApprovePromotion,
    CandidateQueued,
    ChallengerCompared,
    Comparison,
    DeploymentFailed,
    ModelRegistered,
    PausePipeline,
    PromotionsPaused,
    RejectPromotion,
    RollBack,
    TrainingCompleted,
)
from millrace_registry.domain.models import Models

NOON = Instant(1_764_000_000_000_000)
BIKES = PipelineName("bikes")

FILE = """
metadata: {{name: {name}}}
spec:
  event:  {{id: id, time: at}}
  fields: {{temp: float}}
  label:  {{field: cnt, kind: regression}}
  gates:  {gates}
  promotion: {{strategy: {strategy}{numbers}}}
"""
BOUND = "{metric: mae, max: 100}"
BETTER = "{metric: mae, better_than: champion, confidence: 0.9}"


def make_file(
    name="bikes", gates=f"[{BOUND}, {BETTER}]", strategy="direct", numbers=""
) -> Pipeline:
    return read_pipeline(
        FILE.format(name=name, gates=gates, strategy=strategy, numbers=numbers and f", {numbers}")
    )


def make_training(number=1, **changes) -> TrainingCompleted:
    """Run `number`, good enough for every gate before there is a champion."""
    training = TrainingCompleted(
        pipeline=BIKES,
        pipeline_version=1,
        run_id=RunId(f"run-{number}"),
        run_number=number,
        trigger="drift",
        cause_id=f"drift-{number}",
        algorithm="xgboost",
        parameters_json='{"max_depth":3}',
        artifact_uri=f"file:///objects/{number}",
        artifact_sha256=f"{number:064x}",
        artifact_signature=b"signed",
        signing_key_id="trusted",
        dataset_uri=f"file:///datasets/{number}",
        dataset_sha256=f"{number:064x}",
        train_rows=900,
        holdout_rows=100,
        metrics={"mae": 50.0},
        champion_metrics={},
        champion_version=ModelVersionNumber(0),
        better_probability=0.0,
        reference_profile=b'{"columns":[]}',
        fit_seconds=1.5,
        cpu_seconds=2.5,
        as_of=NOON,
        id=f"training-completed-{number}",
        at=NOON,
    )
    return replace(training, **changes)


class FakeSeals:
    def problem(self, training):
        return "" if training.signing_key_id == "trusted" else f"{training.run_id} is not signed"


class FakePipelines:
    def __init__(self):
        self.states = {}

    def of(self, name):
        return self.states.get(name)

    def in_force(self, name):
        state = self.states.get(name)
        return state.file if state else None

    def put(self, event, command):
        self.states[event.pipeline] = files.evolve(event)


class FakeVersions:
    """Keeps what it is told in dictionaries, and refuses what the database's constraints refuse."""

    def __init__(self):
        self.models, self.details, self.judged, self.causes, self.events = {}, {}, {}, set(), []
        self.cards = {}

    def of(self, pipeline):
        return self.models.get(pipeline, Models(pipeline))

    def put(self, models, event, *, cause, at):
        self.models[models.pipeline] = models
        self.events.append(event)
        self.causes.add((models.pipeline, cause))
        if isinstance(event, ModelRegistered):
            assert self.of_run(event.pipeline, event.model.training.run_id) is None
            self.details[event.pipeline, event.model.version] = event.model
        elif verdicts := getattr(event, "verdicts", ()):
            version = getattr(event, "version", 0) or event.model.version
            self.judged[event.pipeline, version] = verdicts

    def model(self, pipeline, version):
        return self.details[pipeline, version]

    def verdicts(self, pipeline, version):
        return self.judged.get((pipeline, version), ())

    def of_run(self, pipeline, run_id):
        found = [
            model.version
            for (name, _), model in self.details.items()
            if (name, model.training.run_id) == (pipeline, run_id)
        ]
        return found[0] if found else None

    def put_card(self, pipeline, version, card):
        self.cards[pipeline, version] = card

    def done(self, pipeline, cause):
        return (pipeline, cause) in self.causes


@dataclass
class World:
    """One pipeline, and what happens to it. Every method returns the events that follow."""

    pipelines: FakePipelines = field(default_factory=FakePipelines)
    versions: FakeVersions = field(default_factory=FakeVersions)
    said: int = 0

    def handle(self, event) -> list:
        match event:
            case ApplyPipeline():
                outcome: Iterable = handlers.on_apply(event, self.pipelines)
            case PausePipeline():
                outcome = handlers.on_pause(event, self.pipelines, self.versions) or ()
            case _:
                handler = {
                    TrainingCompleted: partial(handlers.on_training_completed, seals=FakeSeals()),
                    ApprovePromotion: handlers.on_approve,
                    RejectPromotion: handlers.on_reject,
                    RollBack: handlers.on_roll_back,
                    DeploymentFailed: handlers.on_deployment_failed,
                    ChallengerCompared: handlers.on_compared,
                }[type(event)]
                outcome = handler(event, self.pipelines, self.versions)
        events = list(outcome)
        assert not any(isinstance(event, PromotionsPaused | CandidateQueued) for event in events)
        return events

    def step(self, name: str, **given) -> list:
        """One of the methods below, by name."""
        return getattr(self, name)(**given)

    @property
    def models(self) -> Models:
        return self.versions.of(BIKES)

    def apply(self, file: Pipeline | None = None) -> list:
        file = file or make_file()
        state = self.pipelines.of(file.name)
        return self.handle(
            ApplyPipeline(file, pipeline_digest(file), state.version if state else 0, NOON)
        )

    def train(self, number: int, *, better: float = 0.99, mae: float = 50.0, **changes) -> list:
        """Run `number`, compared with the champion of the moment."""
        compared = (
            {"champion_version": self.models.champion, "champion_metrics": {"mae": 60.0}}
            if self.models.champion
            else {}
        )
        given = {"metrics": {"mae": mae}, "better_probability": better, **compared, **changes}
        return self.handle(make_training(number, **given))

    def _command(self, kind, version):
        self.said += 1
        return self.handle(
            kind(BIKES, ModelVersionNumber(version), "ada", "because", f"command-{self.said}", NOON)
        )

    def approve(self, version=0):
        return self._command(ApprovePromotion, version)

    def reject(self, version=0):
        return self._command(RejectPromotion, version)

    def roll_back(self, version=0):
        return self._command(RollBack, version)

    def pause(self, paused=True):
        self.said += 1
        return self.handle(
            PausePipeline(BIKES, paused, "ada", "because", f"command-{self.said}", NOON)
        )

    def compare(self, verdict="undecided", events=1000, *, step_events=None, **changes) -> list:
        """What monitoring says of the running trial, or of one with other numbers."""
        self.said += 1
        trial = self.models.trial
        given = {
            "trial": trial.number if trial else self.models.trials,
            "step": trial.step if trial else 0,
            "version": trial.version if trial else ModelVersionNumber(1),
            **changes,
        }
        told = ChallengerCompared(
            pipeline=BIKES,
            champion=self.models.champion,
            verdict=Comparison(verdict),
            events=events,
            step_events=events if step_events is None else step_events,
            loss="absolute",
            difference=2.5,
            lower=1.5,
            upper=3.5,
            confidence=0.99,
            seconds=0.25,
            errors=0.125,
            id=f"compared-{self.said}",
            at=NOON,
            **given,
        )
        return self.handle(told)

    def fail(self, version, epoch, instance="serving-1", trial=0):
        self.said += 1
        failure = DeploymentFailed(
            BIKES,
            ModelVersionNumber(version),
            epoch,
            instance,
            "no such artifact",
            f"failure-{self.said}",
            NOON,
            trial,
        )
        return self.handle(failure)


@pytest.fixture
def world_class():
    return World


@pytest.fixture
def make_world():
    def make(file: Pipeline | None = None) -> World:
        world = World()
        world.apply(file)
        return world

    return make


@pytest.fixture
def world(make_world) -> World:
    return make_world()


@pytest.fixture
def file():
    return make_file


@pytest.fixture
def training():
    return make_training
