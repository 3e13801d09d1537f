"""Serving over HTTP: the Open Inference Protocol, version 2, as JSON."""

import asyncio
from collections.abc import Callable

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from starlette.exceptions import HTTPException

from millrace_kernel.errors import TransientError
from millrace_service.http import RETRY_AFTER_SECONDS, create_app
from millrace_serving.application.errors import NoAnswerError, UnknownModelError
from millrace_serving.application.inference import Answered, Inference
from millrace_serving.bootstrap import NAME, Parts
from millrace_serving.domain.tensors import Json, RequestRefusedError
from millrace_serving.entrypoints.openapi import DESCRIPTION, ERRORS, INFER

VERSION = "0.1.0"
LARGEST_BODY = 10 * 1024 * 1024
# Bytes; a larger request would hold up the event loop, and is answered in a thread
ANSWERED_IN_PLACE = 64 * 1024
_STATUS: dict[type[Exception], int] = {
    RequestRefusedError: 400,
    UnknownModelError: 404,
    NoAnswerError: 503,
    TransientError: 503,
}


def app(parts: Parts, ready: Callable[[], bool]) -> FastAPI:
    """The app of one instance. `ready`: history has been read, and the stream is being answered."""
    result = create_app(NAME, ready, parts.metrics.registry, description=DESCRIPTION)
    result.include_router(_server(ready))
    result.include_router(_models(parts.inference, ready))
    for kind, status in _STATUS.items():
        result.add_exception_handler(kind, _refusal(status))
    result.add_exception_handler(HTTPException, _http_error)
    return result


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


def _models(inference: Inference, ready: Callable[[], bool]) -> APIRouter:
    """Each route twice: for the champion, and for a version that is loaded."""

    async def history_is_read() -> None:  # not a plain function: FastAPI would take it to a thread
        if not ready():
            raise NoAnswerError("this instance is still reading history; try again in a moment")

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
        responses=ERRORS[400] | ERRORS[404] | ERRORS[413] | ERRORS[503],
    )
    @router.post(
        "/versions/{version}/infer", openapi_extra=INFER, responses=ERRORS[400] | ERRORS[404]
    )
    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        """Answer some rows. The answer names the version that made it, and becomes a prediction on the stream."""
        with inference.asked():
            content = await _content(request)

            def answer() -> tuple[Answered, bytes]:
                answered = inference.answer(name, version, _parsed(content))
                return answered, orjson.dumps(answered.response)

            in_place = len(content) <= ANSWERED_IN_PLACE
            answered, response = answer() if in_place else await asyncio.to_thread(answer)
            await inference.publish(answered)
        return Response(response, media_type="application/json")

    return router


async def _content(request: Request) -> bytes:
    """The body, read no further than it may be long."""
    headers = request.headers
    if "inference-header-content-length" in headers:
        raise RequestRefusedError(
            "binary tensors are not understood; send JSON (tritonclient: binary_data=False)"
        )
    if headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "compressed requests are not understood; send the JSON as it is")
    content = bytearray()
    too_large = int(headers.get("content-length", 0)) > LARGEST_BODY
    if not too_large:
        async for chunk in request.stream():
            content += chunk
            if too_large := len(content) > LARGEST_BODY:
                break
    if too_large:
        raise HTTPException(
            413, f"the request is larger than {LARGEST_BODY} bytes; ask for fewer rows at once"
        )
    return bytes(content)


def _parsed(content: bytes) -> object:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RequestRefusedError(f"the body is not JSON: {error}") from error


def _refusal(status: int) -> Callable[[Request, Exception], Response]:
    def respond(request: Request, error: Exception) -> Response:  # noqa: ARG001  FastAPI's signature
        answer = _json({"error": str(error)}, status)
        if status == _STATUS[TransientError]:
            answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return answer

    return respond


def _http_error(request: Request, error: Exception) -> Response:  # noqa: ARG001  FastAPI's signature
    assert isinstance(error, HTTPException)
    answer = _json({"error": error.detail}, error.status_code)
    answer.headers.update(error.headers or {})  # which methods are allowed
    return answer


def _json(body: Json, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
