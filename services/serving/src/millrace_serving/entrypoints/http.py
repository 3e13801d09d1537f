"""Serving over HTTP: the Open Inference Protocol, version 2, as JSON."""

from collections.abc import Callable

import orjson
from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from millrace_service.http import create_app
from millrace_serving.application.inference import Inference
from millrace_serving.bootstrap import NAME, Parts
from millrace_serving.domain.tensors import Json
from millrace_serving.entrypoints.general import STATUS, Infer, Reply, refusal
from millrace_serving.entrypoints.infer import HotPath
from millrace_serving.entrypoints.openapi import DESCRIPTION, ERRORS, INFER, REFUSALS

VERSION = "0.1.0"


def app(parts: Parts, ready: Callable[[], bool]) -> ASGIApp:
    """The app of one instance. `ready`: history has been read, and the stream is being answered."""
    infer = Infer(parts.inference, ready)
    result = create_app(NAME, ready, parts.metrics.registry, description=DESCRIPTION)
    result.include_router(_server(ready))
    result.include_router(_models(parts.inference, infer))
    for kind in STATUS:
        result.add_exception_handler(kind, _refused)
    result.add_exception_handler(HTTPException, _http_error)
    return HotPath(infer, result)


def _server(ready: Callable[[], bool]) -> APIRouter:
    router = APIRouter(prefix="/v2", tags=["server"])

    @router.get("")
    async def server() -> Response:
        """What this server is."""
        return _json({"name": "millrace", "version": VERSION, "extensions": []})

    @router.get("/health/live")
    async def live() -> Response:
        """The process runs and its event loop turns."""
        return _json({"live": True})

    @router.get("/health/ready", responses=ERRORS[503])
    async def is_ready() -> Response:
        """History has been read: every pipeline is answered by its champion."""
        answer = ready()
        return _json({"ready": answer, "live": True}, 200 if answer else 503)

    return router


def _models(inference: Inference, infer: Infer) -> APIRouter:
    """Each route twice: for the champion, and for a version that is loaded.

    `/infer` is here for the document and for whoever mounts the app elsewhere; `HotPath` answers it first.
    """

    async def history_is_read() -> None:  # not a plain function: FastAPI would take it to a thread
        infer.check_ready()

    router = APIRouter(
        prefix="/v2/models/{name}", tags=["models"], dependencies=[Depends(history_is_read)]
    )

    @router.get("", responses=ERRORS[404])
    @router.get("/versions/{version}", responses=ERRORS[404])
    async def metadata(name: str, version: str | None = None) -> Response:
        """The loaded versions, newest first, and the tensors that go in and come out."""
        return _json(inference.metadata(name, version))

    @router.get("/ready", responses=ERRORS[404] | ERRORS[503])
    @router.get("/versions/{version}/ready", responses=ERRORS[404] | ERRORS[503])
    async def model_ready(name: str, version: str | None = None) -> Response:
        """Whether a request would get an answer."""
        answer = inference.is_ready(name, version)
        return _json({"name": name, "ready": answer}, 200 if answer else 503)

    @router.post(
        "/infer",
        openapi_extra=INFER,
        responses=REFUSALS,
    )
    @router.post("/versions/{version}/infer", openapi_extra=INFER, responses=REFUSALS)
    async def answer(request: Request, name: str, version: str | None = None) -> Response:
        """Answer some rows. The answer names the version that made it, and becomes a prediction on the stream."""
        return _response(
            await infer.reply(name, version, request.scope["headers"], request.receive)
        )

    return router


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001  FastAPI's signature
    return _response(refusal(error))


def _response(reply: Reply) -> Response:
    response = Response(reply.body, reply.status)
    response.raw_headers += reply.headers
    return response


def _http_error(request: Request, error: Exception) -> Response:  # noqa: ARG001  FastAPI's signature
    assert isinstance(error, HTTPException)
    answer = _json({"error": error.detail}, error.status_code)
    answer.headers.update(error.headers or {})  # which methods are allowed
    return answer


def _json(body: Json, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
