"""The HTTP side: what was decided and why, what was run, what was learnt from."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query
from fastapi.responses import JSONResponse

from millrace_kernel.ids import PipelineName
from millrace_service.http import NamePath, create_app, problem
from millrace_training.application.overview import (
    CostsView,
    DatasetView,
    DecisionView,
    RunDetail,
    RunView,
    StatusView,
)
from millrace_training.application.ports import Overview
from millrace_training.bootstrap import NAME, Training

Limit = Annotated[int, Query(ge=1, le=1000, description="How many, the newest first")]
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "No such pipeline"}}


def create(training: Training, ready: Callable[[], bool]) -> FastAPI:
    app = create_app(
        NAME,
        ready,
        training.metrics.registry,
        description="Decisions to train, runs, and the datasets they learnt from.",
    )
    overview = training.overview

    @app.get("/v1/pipelines", tags=["pipelines"])
    def pipelines() -> list[str]:
        """The names of all pipelines that have been heard of."""
        return list(overview.pipelines())

    @app.get(
        "/v1/pipelines/{pipeline}/status",
        tags=["pipelines"],
        response_model=StatusView,
        responses=_UNKNOWN,
    )
    def status(pipeline: NamePath) -> StatusView | JSONResponse:
        """Labelled rows, the run that is going on, what is put off, when the schedule is due."""
        return overview.status(PipelineName(pipeline)) or unknown(pipeline)

    @app.get(
        "/v1/pipelines/{pipeline}/runs",
        tags=["runs"],
        response_model=list[RunView],
        responses=_UNKNOWN,
    )
    def runs(pipeline: NamePath, limit: Limit = 100) -> list[RunView] | JSONResponse:
        """Every run, with its outcome and its cost."""
        name = PipelineName(pipeline)
        return overview.runs(name, limit) if overview.status(name) else unknown(pipeline)

    _add_run(app, overview)

    @app.get(
        "/v1/pipelines/{pipeline}/datasets",
        tags=["runs"],
        response_model=list[DatasetView],
        responses=_UNKNOWN,
    )
    def datasets(pipeline: NamePath, limit: Limit = 100) -> list[DatasetView] | JSONResponse:
        """What each run learnt from, and the versions of the lake's tables that it was taken from."""
        name = PipelineName(pipeline)
        return overview.datasets(name, limit) if overview.status(name) else unknown(pipeline)

    @app.get(
        "/v1/pipelines/{pipeline}/decisions",
        tags=["runs"],
        response_model=list[DecisionView],
        responses=_UNKNOWN,
    )
    def decisions(pipeline: NamePath, limit: Limit = 100) -> list[DecisionView] | JSONResponse:
        """Every decision to train or not to, and why."""
        name = PipelineName(pipeline)
        return overview.decisions(name, limit) if overview.status(name) else unknown(pipeline)

    def unknown(pipeline: str) -> JSONResponse:
        names = ", ".join(overview.pipelines()) or "none"
        return problem(404, "UnknownPipeline", f"no pipeline {pipeline!r}; known: {names}")

    _add_costs(app, overview, unknown)
    return app


def _add_costs(app: FastAPI, overview: Overview, unknown: Callable[[str], JSONResponse]) -> None:
    @app.get(
        "/v1/pipelines/{pipeline}/costs",
        tags=["runs"],
        response_model=CostsView,
        responses=_UNKNOWN,
    )
    def costs(pipeline: NamePath) -> CostsView | JSONResponse:
        """What all runs cost: processor, memory, energy and money; per promotion and per point that was gained."""
        name = PipelineName(pipeline)
        return overview.costs(name) if overview.status(name) else unknown(pipeline)


def _add_run(app: FastAPI, overview: Overview) -> None:
    @app.get(
        "/v1/pipelines/{pipeline}/runs/{number}",
        tags=["runs"],
        response_model=RunDetail,
        responses={404: {"description": "No such run"}},
    )
    def run(
        pipeline: NamePath, number: Annotated[int, Path(ge=1, lt=2**31)]
    ) -> RunDetail | JSONResponse:
        """One run: what it learnt from, its trials, and what it takes to make its artifact again."""
        found = overview.run(PipelineName(pipeline), number)
        return found or problem(404, "UnknownRun", f"{pipeline} has no run {number}")
