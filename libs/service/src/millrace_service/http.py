"""The HTTP app that every service starts from: health, metrics, errors as RFC 9457 problems."""

from collections.abc import Callable

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from millrace_kernel.errors import PermanentError, TransientError

RETRY_AFTER_SECONDS = 2


def create_app(
    name: str, ready: Callable[[], bool], registry: CollectorRegistry, *, description: str = ""
) -> FastAPI:
    """An app with `/health/live`, `/health/ready`, `/metrics` and `/docs`.

    `ready` says whether everything the service stands on has been reached and history has been read.
    PermanentError answers 422, TransientError 503 with Retry-After; both as application/problem+json.
    """
    app = FastAPI(title=f"Millrace {name}", description=description, version="1")

    @app.get("/health/live", tags=["health"])
    async def live() -> dict[str, bool]:
        """The process runs and its event loop turns."""
        return {"live": True}

    @app.get("/health/ready", tags=["health"], responses={503: {"description": "Not ready yet"}})
    async def is_ready(response: Response) -> dict[str, bool]:
        """Broker, database and history have been reached: work is being done."""
        answer = ready()
        response.status_code = 200 if answer else 503
        return {"ready": answer}

    @app.get("/metrics", tags=["health"], include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(PermanentError)
    async def refused(request: Request, error: PermanentError) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        return problem(422, type(error).__name__, str(error))

    @app.exception_handler(TransientError)
    async def away(request: Request, error: TransientError) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        answer = problem(503, type(error).__name__, str(error))
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return answer

    return app


def problem(status: int, title: str, detail: str, **more: object) -> JSONResponse:
    """An RFC 9457 problem."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail} | more
    return JSONResponse(body, status_code=status, media_type="application/problem+json")
