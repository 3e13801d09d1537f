"""An instance of serving that answers with what training made, without a broker or a port."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from millrace_artifacts.artifact import read_artifact
from millrace_artifacts.scorer import load_scorer
from millrace_kernel.ids import ModelVersionNumber, RunId
from millrace_kernel.pipeline import Pipeline
from millrace_serving.adapters.engine import ArtifactModel
from millrace_serving.adapters.publisher import BusPublisher
from millrace_serving.adapters.wire import WIRE
from millrace_serving.application.deployments import Deployment, Deployments
from millrace_serving.application.hot import Plans
from millrace_serving.application.inference import Inference
from millrace_serving.application.pipelines import Pipelines
from millrace_serving.application.statistics import Statistics
from millrace_serving.domain.champions import Champion
from millrace_serving.domain.events import PipelineApplied
from millrace_testkit.clock import FixedClock
from millrace_testkit.memory import MemoryBroker
from millrace_training.adapters.fitting.fit import fit_candidates
from millrace_training.adapters.fitting.job import FitJob


@dataclass
class Serving:
    inference: Inference
    plans: Plans


@pytest.fixture(scope="session")
def trained() -> Callable[[FitJob], ArtifactModel]:
    """The model that comes of a job, as serving loads it."""

    def trained(job: FitJob) -> ArtifactModel:
        scorer = load_scorer(read_artifact(fit_candidates(job).artifact))
        return ArtifactModel(scorer, "onnxruntime_onnx", 1_000)

    return trained


@pytest.fixture(scope="session")
def serve() -> Callable[[Pipeline, ArtifactModel | None], Serving]:
    """Serving on a pipeline whose champion, if there is one, is version 7 of epoch 3."""

    def serve(pipeline: Pipeline, model: ArtifactModel | None) -> Serving:
        pipelines, deployments, clock = (
            Pipelines(),
            Deployments(),
            FixedClock(1_764_000_000_000_000),
        )
        pipelines.apply(PipelineApplied(pipeline.name, (pipeline,)))
        champion = Champion(
            pipeline=pipeline.name,
            pipeline_version=1,
            version=ModelVersionNumber(7),
            epoch=3,
            run_id=RunId("run-1"),
            artifact_uri=f"file:///{pipeline.name}",
            artifact_sha256="0" * 64,
            artifact_signature=b"",
            signing_key_id="",
        )
        if model is not None:
            deployments.swap(Deployment(champion, model))
        publisher = BusPublisher(MemoryBroker(), WIRE, instance="a", started=1, chance=lambda: 0.5)
        statistics = Statistics(clock, itertools.count().__next__)
        inference = Inference(pipelines, deployments, publisher, clock, "a", statistics)
        plans = Plans(pipelines, deployments, publisher, inference.new_id, clock, statistics)
        return Serving(inference, plans)

    return serve
