"""Model cards over HTTP: for people as a page or as Markdown, for programs as figures."""

import asyncio
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Request
from fastapi.responses import JSONResponse, Response

from millrace_artifacts.errors import (
    DigestMismatchError,
    ForeignUriError,
    ObjectMissingError,
    StoreUnavailableError,
)
from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_registry.application.views import CardDocument
from millrace_registry.bootstrap import Parts
from millrace_registry.domain.errors import UnknownCardError, UnreadableCardError
from millrace_service.http import NamePath, problem

_HTML, _MARKDOWN, _JSON = "text/html", "text/markdown", "application/json"
_OFFERED = (_MARKDOWN, _HTML, _JSON)  # the first is for who takes anything
_DAMAGED = (DigestMismatchError, ForeignUriError, ObjectMissingError, UnreadableCardError)
# A card holds words of users' data. It needs no script, no frame and nothing from anywhere, so it gets none
_SAFELY = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The card in the form that `Accept` prefers",
        "content": {
            _MARKDOWN: {"schema": {"type": "string"}},
            _HTML: {"schema": {"type": "string"}},
            _JSON: {"schema": {}},
        },
    },
    404: {"description": "No such pipeline or version, or it has no card"},
    406: {"description": "Only Markdown, HTML and JSON are there"},
    500: {"description": "The stored card is missing, damaged or none"},
    503: {"description": "The object store is away; ask again"},
}

Accept = Annotated[
    str, Header(max_length=1000, description="text/markdown, text/html or application/json")
]
Version = Annotated[int, Path(ge=1, lt=2**31)]


def add_cards(app: FastAPI, parts: Parts) -> None:
    async def none_made(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        return problem(404, type(error).__name__, str(error))

    async def damaged(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        return problem(500, type(error).__name__, str(error))

    async def away(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        return problem(503, type(error).__name__, str(error))

    app.add_exception_handler(UnknownCardError, none_made)
    app.add_exception_handler(StoreUnavailableError, away)
    for kind in _DAMAGED:
        app.add_exception_handler(kind, damaged)

    @app.get(
        "/v1/models/{name}/versions/{version}/card",
        responses=_ANSWERS,
        response_class=Response,
        tags=["models"],
    )
    async def card(name: NamePath, version: Version, accept: Accept = "*/*") -> Response:
        """What the version is, how good it is and for whom, and what its answers rest on."""
        form = preferred(accept)
        if form is None:
            return problem(406, "NotAcceptable", f"a card is there as {', '.join(_OFFERED)}")
        found = await asyncio.to_thread(
            _read, parts, PipelineName(name), ModelVersionNumber(version)
        )
        return _written(found, form)


def _read(parts: Parts, name: PipelineName, version: ModelVersionNumber) -> CardDocument:
    model = parts.views.model(name, version)
    if not model.card_uri:
        raise UnknownCardError(name, version)
    return parts.cards.read(model.card_uri, model.card_sha256)


def _written(found: CardDocument, form: str) -> Response:
    if form == _JSON:
        return JSONResponse(found.facts, headers=_SAFELY)
    text = found.html if form == _HTML else found.markdown
    return Response(text, media_type=f"{form}; charset=utf-8", headers=_SAFELY)


def preferred(accept: str) -> str | None:
    """The offered form that an Accept header likes best; None when it likes none (RFC 9110, 12.5.1)."""
    liked = {form: _quality(accept, form) for form in _OFFERED}
    best = max(_OFFERED, key=lambda form: liked[form])
    return best if liked[best] > 0 else None


def _quality(accept: str, form: str) -> float:
    """What the most specific range that fits says; 0 when none fits."""
    kind = form.partition("/")[0]
    found = {}
    for part in accept.split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        found[name] = next((_number(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
    for name in (form, f"{kind}/*", "*/*"):
        if name in found:
            return found[name]
    return 0.0


def _number(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
