"""The HTTP side: rows are checked at once, appended to the pipeline's raw topic, and answered for when they are safe there.

So there is one path in: what came over HTTP is read, counted and dead-lettered as what producers sent themselves.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from millrace_ingestion.application.admission import Fault, RowProblem, admit
from millrace_ingestion.application.admission import Request as Rows
from millrace_ingestion.application.overload import Held, OverloadedError
from millrace_ingestion.application.ports import ROW_BYTES, NotAcknowledgedError
from millrace_ingestion.bootstrap import NAME, Parts
from millrace_ingestion.domain.problems import UnreadableError
from millrace_ingestion.domain.validation import Rules
from millrace_kernel.errors import TransientError
from millrace_kernel.time import Instant, rfc3339
from millrace_service.http import RETRY_AFTER_SECONDS, create_app, problem

MAX_REQUEST_BYTES = 16_000_000
MAX_ROWS = 20_000  # of one request: the smallest rows cost many times their bytes
JSON, NDJSON = "application/json", "application/x-ndjson"
CLOUDEVENT, CLOUDEVENTS = "application/cloudevents+json", "application/cloudevents-batch+json"

T = TypeVar("T")

_MOST_PROBLEMS = 100
_LONGEST_NUMBER = 20
_INLINE_BYTES = (
    20_000  # checked in the event loop; more in a thread, so that others are answered meanwhile
)
_STATUS = {Fault.INVALID: 422, Fault.UNREADABLE: 400, Fault.TOO_LARGE: 413}
_TITLE = {422: "Refused", 400: "Unreadable", 413: "TooLarge"}
_ROW_TYPE = {JSON: JSON, NDJSON: JSON, CLOUDEVENT: CLOUDEVENT, CLOUDEVENTS: CLOUDEVENT}
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[ -~]{1,512}")

_OBJECT = {"schema": {"type": "object"}}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: _OBJECT,
            NDJSON: {"schema": {"type": "string", "description": "one JSON object a line"}},
            CLOUDEVENT: _OBJECT,
            CLOUDEVENTS: {"schema": {"type": "array", "items": {"type": "object"}}},
        },
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    202: {"description": "Appended and acknowledged by the broker"},
    400: {"description": "A row is not readable; nothing was appended"},
    404: {"description": "No such pipeline"},
    413: {"description": "A row or the request is too large; nothing was appended"},
    415: {"description": "Another content type"},
    422: {"description": "A row is against the pipeline's rules; nothing was appended"},
    429: {
        "description": "The broker or the reader of the raw topic is behind; nothing was appended, send again after "
        "Retry-After seconds"
    },
    503: {
        "description": "The broker is away or has not acknowledged all rows in time; `accepted_rows` lists those that it "
        "has (counted from 0, blank lines not counted). Send the others again: one that has arrived counts once"
    },
}


class NotReadyError(TransientError):
    """The pipelines have not been read from the broker yet."""


class RefusedRequestError(Exception):
    """Carries the answer to a request that gets no further."""

    def __init__(self, answer: JSONResponse) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


def app(parts: Parts, is_ready: Callable[[], bool]) -> FastAPI:
    made = create_app(
        NAME, is_ready, parts.metrics.registry, description="Takes events and labels in."
    )

    def target(pipeline: str) -> tuple[Rules, str]:
        """The rules to check by and the topic to append to, as they are now."""
        rules = parts.pipelines.rules(pipeline)
        if rules is not None:
            return rules, parts.pipelines.topic(pipeline)
        if not is_ready():
            raise NotReadyError("the pipelines have not been read from the broker yet; send again")
        raise RefusedRequestError(_unknown(pipeline, parts.pipelines.names))

    _answer_errors(made, parts)

    @made.post(
        "/v1/pipelines/{pipeline}/events",
        status_code=202,
        responses=_ANSWERS,
        openapi_extra=_BODY,
        tags=["events"],
    )
    async def events(pipeline: str, request: Request) -> Response:
        """Take events: one JSON object, many as NDJSON, a CloudEvent, or a batch of them. All rows or none."""
        return await _accept(parts, target(pipeline), request, labels_only=False)

    @made.post(
        "/v1/pipelines/{pipeline}/labels",
        status_code=202,
        responses=_ANSWERS,
        openapi_extra=_BODY,
        tags=["labels"],
    )
    async def labels(pipeline: str, request: Request) -> Response:
        """Take labels: {id, label, entity?, known_at?, event_time?}; label: null takes one back. All rows or none."""
        return await _accept(parts, target(pipeline), request, labels_only=True)

    return made


def _answer_errors(made: FastAPI, parts: Parts) -> None:
    @made.exception_handler(RefusedRequestError)
    async def refused(request: Request, error: RefusedRequestError) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        return error.answer

    @made.exception_handler(OverloadedError)
    async def overloaded(request: Request, error: OverloadedError) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        parts.gate_metrics.refused[error.reason].inc()
        answer = problem(429, "Overloaded", str(error), reason=error.reason)
        answer.headers["Retry-After"] = str(error.seconds)
        return answer

    @made.exception_handler(NotAcknowledgedError)
    async def not_acknowledged(request: Request, error: NotAcknowledgedError) -> JSONResponse:  # noqa: ARG001  FastAPI's signature
        rows = error.acknowledged
        answer = problem(
            503, "NotAcknowledged", str(error), accepted=len(rows), accepted_rows=list(rows)
        )
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return answer


async def _accept(
    parts: Parts, target: tuple[Rules, str], request: Request, *, labels_only: bool
) -> Response:
    rules, topic = target
    media_type = _media_type(request.headers)
    with parts.gate.request(topic, _announced_bytes(request.headers)) as held:
        body = await _body(request, held)
        recorded_at = parts.clock.now()
        headers = _headers(media_type, recorded_at, request.headers)
        values = await _where_it_fits(len(body), lambda: _split(parts, media_type, body))
        held.add(len(values) * ROW_BYTES + len(body))
        rows = Rows(values, headers, recorded_at, labels_only)
        admission = await _where_it_fits(
            len(body), lambda: admit(rules, rows, parts.read_submission)
        )
        if admission.problems:
            raise RefusedRequestError(_refusal(admission.problems))
        await parts.raw_topics.append(topic, admission.rows)
        return JSONResponse({"accepted": len(admission.rows)}, status_code=202)


async def _where_it_fits(size: int, work: Callable[[], T]) -> T:
    """In the event loop, or for so many bytes in a thread."""
    return work() if size <= _INLINE_BYTES else await asyncio.to_thread(work)


def _announced_bytes(headers: Mapping[str, str]) -> int:
    """What the body will have at least, as far as it is taken."""
    announced = headers.get("content-length", "0")
    is_number = announced.isdecimal() and len(announced) < _LONGEST_NUMBER
    return min(int(announced), MAX_REQUEST_BYTES) if is_number else 0


def _unknown(pipeline: str, known: list[str]) -> JSONResponse:
    among = ", ".join(known) or "none, apply a pipeline file first"
    return problem(404, "UnknownPipeline", f"no pipeline {pipeline!r}; known: {among}", known=known)


def _media_type(headers: Mapping[str, str]) -> str:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = headers.get("content-encoding", "identity").lower()
    if media_type not in _ROW_TYPE:
        detail = (
            f"content type {media_type[:80]!r} is not taken; send one of {', '.join(_ROW_TYPE)}"
        )
        raise RefusedRequestError(problem(415, "UnsupportedMediaType", detail))
    if encoding != "identity":
        detail = f"content encoding {encoding[:80]!r} is not taken; send the body as it is"
        raise RefusedRequestError(problem(415, "UnsupportedMediaType", detail))
    return media_type


async def _body(request: Request, held: Held) -> bytes:
    """The whole body, read no further than it may be long."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_REQUEST_BYTES:
            detail = f"the request has more than {MAX_REQUEST_BYTES} bytes; send it in parts"
            raise RefusedRequestError(problem(413, "TooLarge", detail, problems=[]))
        held.add(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


def _split(parts: Parts, media_type: str, body: bytes) -> Sequence[bytes]:
    """The rows of a request, byte for byte. Raises RefusedRequestError when there are none."""
    if media_type == NDJSON:
        if body.count(b"\n") > 2 * MAX_ROWS:  # blank ones, too
            raise RefusedRequestError(_too_many_rows())
        rows = [line for line in body.split(b"\n") if line.strip()]
    elif media_type == CLOUDEVENTS:
        rows = _elements(parts, body)
    else:
        return [body]
    if not rows:
        raise RefusedRequestError(_unreadable("the body holds no rows", "send at least one"))
    if len(rows) > MAX_ROWS:
        raise RefusedRequestError(_too_many_rows())
    return rows


def _too_many_rows() -> JSONResponse:
    detail = f"the request has more than {MAX_ROWS} rows; send it in parts"
    return problem(413, "TooLarge", detail, problems=[])


def _elements(parts: Parts, body: bytes) -> list[bytes]:
    try:
        return parts.split_batch(body)
    except UnreadableError as error:
        raise RefusedRequestError(_unreadable(error.problem.problem, error.problem.fix)) from error


def _headers(media_type: str, recorded_at: Instant, sent: Mapping[str, str]) -> dict[str, bytes]:
    """What every row of a request carries on Kafka. Trace context only when it is one: the bus reads it."""
    headers = {
        "content-type": _ROW_TYPE[media_type].encode(),
        "recordedtime": rfc3339(recorded_at).encode(),
    }
    traceparent, tracestate = sent.get("traceparent", ""), sent.get("tracestate", "")
    if _TRACEPARENT.fullmatch(traceparent):
        headers["traceparent"] = traceparent.encode()
        if _TRACESTATE.fullmatch(tracestate):
            headers["tracestate"] = tracestate.encode()
    return headers


def _unreadable(what: str, fix: str) -> JSONResponse:
    row = {"index": 0, "field": "", "problem": what, "fix": fix}
    return problem(400, _TITLE[400], f"{what}; {fix}", problems=[row])


def _refusal(problems: Sequence[RowProblem]) -> JSONResponse:
    status = _STATUS[max(row.fault for row in problems)]
    listed = [
        {
            "index": row.index,
            "field": row.problem.field,
            "problem": row.problem.problem,
            "fix": row.problem.fix,
        }
        for row in problems[:_MOST_PROBLEMS]
    ]
    more = f"; the first {_MOST_PROBLEMS} are listed" if len(problems) > _MOST_PROBLEMS else ""
    detail = f"nothing was appended; problems: {len(problems)}{more}"
    return problem(status, _TITLE[status], detail, problems=listed)
