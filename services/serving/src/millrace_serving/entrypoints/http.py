"""Serving over HTTP: the Open Inference Protocol, version 2, with its binary tensors, repository index and statistics."""

from collections.abc import Callable

import orjson
from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException

from millrace_service.http import create_app
from millrace_serving.application.inference import Inference
from millrace_serving.bootstrap import NAME, Parts
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.entrypoints.bodies import content_of, question_of
from millrace_serving.entrypoints.catalogue import EXTENSIONS, VERSION, Catalogue
from millrace_serving.entrypoints.general import STATUS, Infer, Reply, refusal
from millrace_serving.entrypoints.infer import HotPath
from millrace_serving.entrypoints.openapi import DESCRIPTION, ERRORS, INDEX, INFER, REFUSALS


def app(parts: Parts, ready: Callable[[], bool]) -> HotPath:
    """The app of one instance. `ready`: history has been read, and the stream is being answered."""
    infer = Infer(parts.inference, ready)
    result = create_app(NAME, ready, parts.metrics.registry, description=DESCRIPTION)
    result.include_router(_server(ready))
    catalogue = Catalogue(parts.pipelines, parts.inference, parts.statistics)
    result.include_router(_repository(catalogue, infer))
    result.include_router(_models(parts.inference, infer))
    for kind in STATUS:
        result.add_exception_handler(kind, _refused)
    result.add_exception_handler(HTTPException, _http_error)
    return HotPath(infer, result, parts.plans, parts.inference, ready)


def _server(ready: Callable[[], bool]) -> APIRouter:
    router = APIRouter(prefix="/v2", tags=["server"])

    @router.get("")
    async def server() -> Response:
        """What this server is."""
        return _json({"name": "millrace", "version": VERSION, "extensions": list(EXTENSIONS)})

    @router.get("/health/live")
    async def live() -> Response:
        """The process runs and its event loop turns."""
        return _json({"ready": ready(), "live": True})

    @router.get("/health/ready", responses=ERRORS[503])
    async def is_ready() -> Response:
        """History has been read: every pipeline is answered by its champion."""
        answer = ready()
        return _json({"ready": answer, "live": True}, 200 if answer else 503)

    return router


def _repository(catalogue: Catalogue, infer: Infer) -> APIRouter:
    """What there is, and what was asked of it. Before the models' routes: `stats` would be taken for a model's name."""

    async def history_is_read() -> None:  # not a plain function: FastAPI would take it to a thread
        infer.check_ready()

    router = APIRouter(prefix="/v2", tags=["repository"], dependencies=[Depends(history_is_read)])

    @router.post("/repository/index", openapi_extra=INDEX, responses=ERRORS[400])
    async def index(request: Request) -> Response:
        """The models there are, each with the versions that can be asked."""
        return _json(catalogue.index(ready_only=_ready_only(await content_of(request.receive))))

    @router.get("/models/stats")
    async def all_statistics() -> Response:
        """What was asked of every model since this instance started, and how long it took."""
        return _json(catalogue.statistics())

    @router.get("/models/{name}/stats", responses=ERRORS[404])
    @router.get("/models/{name}/versions/{version}/stats", responses=ERRORS[404])
    async def statistics(name: str, version: str | None = None) -> Response:
        """What was asked of a model since this instance started, and how long it took: nanoseconds, by version."""
        return _json(catalogue.statistics(name, version))

    return router


def _ready_only(content: bytes) -> bool:
    """What the body says, which may be left out."""
    question = question_of(content, None) if content.strip() else {}
    ready = question.get("ready", False) if isinstance(question, dict) else None
    if not isinstance(ready, bool):
        raise RequestRefusedError(
            'the body may be left out, or be {"ready": true} or {"ready": false}'
        )
    return ready


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
        await inference.loaded(name)
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


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
