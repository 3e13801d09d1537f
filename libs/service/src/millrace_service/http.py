"""The HTTP app that every service starts from: health, metrics, errors as RFC 9457 problems."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace_kernel.errors import PermanentError, TransientError
from millrace_service.document import document_of
from millrace_service.reference import SAFELY, reference

RETRY_AFTER_SECONDS = 2
# A name in a path is looked up in a database: what could be none (a NUL, which PostgreSQL refuses) gets no further
NamePath = Annotated[
    str, Path(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="The pipeline's name")
]

_MOST_PROBLEMS = 100
_TRYING = "/docs/try"


def create_app(
    name: str, ready: Callable[[], bool], registry: CollectorRegistry, *, description: str = ""
) -> FastAPI:
    """An app with `/health/live`, `/health/ready`, `/metrics` and `/docs`.

    `ready` says whether everything the service stands on has been reached and history has been read.
    PermanentError answers 422, TransientError 503 with Retry-After. These and every other refusal are
    application/problem+json, and so says the OpenAPI document wherever a route says nothing else.
    """
    app = FastAPI(
        title=f"Millrace {name}",
        description=description,
        version="1",
        docs_url=_TRYING,
        redoc_url=None,
    )

    @app.get("/health/live", tags=["health"])
    async def live() -> dict[str, bool]:
        """The process runs and its event loop turns."""
        return {"live": True}

    @app.get("/health/ready", tags=["health"], responses={503: _NOT_READY})
    async def is_ready(response: Response) -> dict[str, bool]:
        """Broker, database and history have been reached: work is being done."""
        answer = ready()
        response.status_code = 200 if answer else 503
        return {"ready": answer}

    @app.get("/metrics", tags=["health"], include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        page = reference(app.openapi(), trying=_TRYING)
        return Response(page, media_type="text/html", headers=SAFELY)

    _answer_errors(app)
    as_fastapi_has_it = app.openapi
    app.openapi = lambda: document_of(as_fastapi_has_it)  # type: ignore[method-assign]  # FastAPI's way to extend it
    return app


_NOT_READY: dict[str, Any] = {
    "description": "Not ready yet",
    "content": {
        "application/json": {
            "schema": {"type": "object", "additionalProperties": {"type": "boolean"}}
        }
    },
}


def problem(status: int, title: str, detail: str, **more: object) -> JSONResponse:
    """An RFC 9457 problem."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail} | more
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


class LimitedBody:
    """ASGI middleware: reads no request further than `largest` bytes, and answers 413 with a problem."""

    def __init__(self, app: ASGIApp, largest: int) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def receive_no_more() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if (
                size > self._largest
            ):  # raised where the body is read, and answered as what is raised there
                raise HTTPException(
                    413, f"the request has more than {self._largest} bytes; send less"
                )
            return message

        await self._app(scope, receive_no_more, send)


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(PermanentError)
    async def refused(request: Request, error: PermanentError) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        return problem(422, type(error).__name__, str(error))

    @app.exception_handler(TransientError)
    async def away(request: Request, error: TransientError) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        answer = problem(503, type(error).__name__, str(error))
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return answer

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        # nobody hears it; but whoever hangs up shall not fill our log with tracebacks
        return problem(400, "ClientDisconnect", "the request ended before its body did")

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        return _invalid(error)

    @app.exception_handler(HTTPException)
    async def impossible(request: Request, error: HTTPException) -> JSONResponse:
        detail = f"{error.detail}: {request.method} {shown(request.url.path)}"
        answer = problem(error.status_code, HTTPStatus(error.status_code).phrase, detail)
        answer.headers.update(error.headers or {})  # which methods are allowed
        return answer


def _invalid(error: RequestValidationError) -> JSONResponse:
    """What is wrong where, without what was sent: it may be no JSON (NaN) and no UTF-8 (half a pair of surrogates)."""
    found = [
        {"where": shown(".".join(map(str, one["loc"]))), "what": shown(str(one["msg"]))}
        for one in error.errors()[:_MOST_PROBLEMS]
    ]
    detail = "; ".join(f"{one['where']}: {one['what']}" for one in found[:5])
    return problem(422, "InvalidRequest", detail or "the request is not valid", problems=found)


def shown(text: str) -> str:
    """Something that was sent, as it can be written in an answer: short, in Unicode, in one line."""
    return text[:300].encode("utf-8", "replace").decode().replace("\n", " ")
