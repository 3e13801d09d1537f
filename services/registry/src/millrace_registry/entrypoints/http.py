"""The registry over HTTP: apply pipeline files, look at models and promotions, ask for decisions."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Request
from fastapi.responses import JSONResponse

from millrace_bus.sql_worker import SqlWorker
from millrace_contracts.pipeline_file import PipelineFileError, pipeline_schema
from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_registry.application.views import (
    ModelDetail,
    ModelView,
    PipelineDetail,
    PipelineView,
    PromotionView,
)
from millrace_registry.bootstrap import NAME, Parts
from millrace_registry.domain.errors import UnknownPipelineError, UnknownVersionError
from millrace_registry.entrypoints.applying import apply
from millrace_registry.entrypoints.asking import Accepted, Ask, command_of
from millrace_registry.entrypoints.cards import add_cards
from millrace_service.http import LimitedBody, NamePath, create_app, problem
from millrace_telemetry.tracing import read_traceparent

MAX_BODY_BYTES = (
    512 * 1024
)  # more than a pipeline file may have: what is too long is then refused in words
MOST_LISTED = 1000

Before = Annotated[
    int | None,
    Query(ge=1, le=2**53, description="Only what is older than this number: the next page"),
]
Limit = Annotated[int, Query(ge=1, le=MOST_LISTED)]
Traceparent = Annotated[str | None, Header(max_length=100)]
IdempotencyKey = Annotated[
    str | None, Header(max_length=200, description="Asked again with the same key, it counts once")
]

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}
_OUTCOME: dict[str, Any] = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["name", "version", "digest", "changed"],
            "properties": {
                "name": {"type": "string"},
                "version": {"type": "integer"},
                "digest": {"type": "string"},
                "changed": {"type": "boolean"},
            },
        }
    }
}
_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "the pipeline's own path"}}
_REFUSED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file says what is in force already",
        "content": _OUTCOME,
        "headers": _LOCATION,
    },
    201: {"description": "A new version is in force", "content": _OUTCOME, "headers": _LOCATION},
    413: {"description": "The body is too large"},
    422: {
        "description": "The file is wrong; `problems` lists where, why, and what to write instead"
    },
    503: {"description": "The database is away; send again"},
}
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "No such pipeline or version"}}
_ASKED: dict[int | str, dict[str, Any]] = {
    **_UNKNOWN,
    400: {"description": "The body is not readable"},
    413: {"description": "The body is too large"},
    503: {"description": "The broker is away; send again"},
}


def create(parts: Parts, worker: SqlWorker, is_ready: Callable[[], bool]) -> FastAPI:
    app = create_app(
        NAME,
        is_ready,
        parts.metrics.registry,
        description="Pipeline files, model versions, promotions.",
    )
    app.add_middleware(LimitedBody, largest=MAX_BODY_BYTES)
    _answer_refusals(app)
    _add_files(app, parts, worker)
    _add_models(app, parts)
    add_cards(app, parts)
    _add_commands(app, parts)
    return app


def _answer_refusals(app: FastAPI) -> None:
    async def unknown(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        return problem(404, type(error).__name__, str(error))

    async def wrong_file(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        assert isinstance(error, PipelineFileError)
        listed = [
            {
                "line": one.line,
                "column": one.column,
                "path": one.path,
                "what": one.what,
                "fix": one.fix,
                "text": str(one),
            }
            for one in error.problems
        ]
        return problem(422, "PipelineFileError", str(error), problems=listed)

    app.add_exception_handler(UnknownPipelineError, unknown)
    app.add_exception_handler(UnknownVersionError, unknown)
    app.add_exception_handler(PipelineFileError, wrong_file)


def _add_files(app: FastAPI, parts: Parts, worker: SqlWorker) -> None:
    @app.post(
        "/v1/pipelines",
        status_code=201,
        responses=_REFUSED,
        openapi_extra=_BODY,
        tags=["pipelines"],
    )
    async def apply_pipeline(request: Request, traceparent: Traceparent = None) -> JSONResponse:
        """Apply a pipeline file, YAML or JSON: 201 with its new version, 200 when nothing changes."""
        # what is no UTF-8 shows as a problem where it stands
        text = (await request.body()).decode("utf-8", "replace")
        outcome = await apply(parts, worker, text, traceparent=_known(traceparent))
        answer = {
            "name": outcome.name,
            "version": outcome.version,
            "digest": outcome.digest,
            "changed": outcome.changed,
        }
        headers = {"Location": f"/v1/pipelines/{outcome.name}"}
        return JSONResponse(answer, 201 if outcome.changed else 200, headers)

    @app.get("/v1/pipelines", tags=["pipelines"])
    async def list_pipelines() -> Sequence[PipelineView]:
        """Every pipeline, by name."""
        return await asyncio.to_thread(parts.views.pipelines)

    @app.get("/v1/pipelines/{name}", responses=_UNKNOWN, tags=["pipelines"])
    async def show_pipeline(name: NamePath) -> PipelineDetail:
        """One pipeline: its file in force with every default written out, and the files before."""
        return await asyncio.to_thread(parts.views.pipeline, PipelineName(name))

    @app.get("/v1/schemas/pipeline", tags=["pipelines"])
    async def schema() -> dict[str, Any]:
        """The JSON Schema of a pipeline file, for editors."""
        return pipeline_schema()


def _add_models(app: FastAPI, parts: Parts) -> None:
    views = parts.views

    @app.get("/v1/pipelines/{name}/models", responses=_UNKNOWN, tags=["models"])
    async def list_models(
        name: NamePath, before: Before = None, limit: Limit = 100
    ) -> Sequence[ModelView]:
        """The pipeline's model versions, newest first."""
        return await asyncio.to_thread(
            lambda: views.models(PipelineName(name), before=before, limit=limit)
        )

    @app.get("/v1/pipelines/{name}/models/{version}", responses=_UNKNOWN, tags=["models"])
    async def show_model(
        name: NamePath, version: Annotated[int, Path(ge=1, lt=2**31)]
    ) -> ModelDetail:
        """One model version: metrics, verdicts, stage, and the run it came from."""
        return await asyncio.to_thread(views.model, PipelineName(name), ModelVersionNumber(version))

    @app.get("/v1/pipelines/{name}/promotions", responses=_UNKNOWN, tags=["models"])
    async def list_promotions(
        name: NamePath, before: Before = None, limit: Limit = 100
    ) -> Sequence[PromotionView]:
        """What has become the champion, newest first; rolling back counts."""
        return await asyncio.to_thread(
            lambda: views.promotions(PipelineName(name), before=before, limit=limit)
        )


def _add_commands(app: FastAPI, parts: Parts) -> None:
    @app.post(
        "/v1/pipelines/{name}/commands",
        status_code=202,
        responses=_ASKED,
        tags=["commands"],
    )
    async def ask(
        name: NamePath,
        asked: Ask,
        idempotency_key: IdempotencyKey = None,
        traceparent: Traceparent = None,
    ) -> Accepted:
        """Ask for a decision. It goes the way of every command, through the topic; what becomes of it is an event.

        One that cannot be carried out is found in `millrace.commands.dlq`, with the reason.
        """
        if await asyncio.to_thread(parts.views.in_force, PipelineName(name)) is None:
            raise UnknownPipelineError(name)
        command = command_of(asked, PipelineName(name), parts.clock.now(), idempotency_key)
        await parts.commands.send(command, traceparent=_known(traceparent))
        return Accepted(id=command.id)


def _known(traceparent: str | None) -> str | None:
    return traceparent if traceparent and read_traceparent(traceparent) else None
