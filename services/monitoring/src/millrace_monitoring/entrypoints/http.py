"""The HTTP side: what is known of each pipeline."""

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from millrace_kernel.ids import PipelineName
from millrace_monitoring.application.status import Status, status_of
from millrace_monitoring.bootstrap import NAME, Parts
from millrace_service.http import NamePath, create_app, problem


def create(parts: Parts, ready: Callable[[], bool]) -> FastAPI:
    app = create_app(
        NAME,
        ready,
        parts.metrics.registry,
        description="Windows, drift and measured quality of every pipeline.",
    )
    overview = parts.overview

    @app.get("/v1/pipelines", tags=["pipelines"])
    def pipelines() -> list[str]:
        """The names of all pipelines that have been heard of."""
        return list(overview.names())

    @app.get(
        "/v1/pipelines/{pipeline}/status",
        tags=["pipelines"],
        response_model=Status,
        responses={404: {"description": "No such pipeline"}},
    )
    def status(pipeline: NamePath) -> Status | JSONResponse:
        """Windows, what drifts now, the newest metrics, and running metrics by model version and overall."""
        known = overview.of(PipelineName(pipeline))
        if known is None:
            names = ", ".join(overview.names()) or "none"
            return problem(404, "UnknownPipeline", f"no pipeline {pipeline!r}; known: {names}")
        return status_of(*known)

    return app
