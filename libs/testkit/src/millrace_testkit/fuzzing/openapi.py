"""A service's OpenAPI document held against the service itself: every operation, with data that fits and data that does not.

The app listens on a real port, so that requests pass through the real server. It runs in the test's event loop, beside the
workers that it hands things to; the requests come from a thread.
"""

import asyncio
import contextlib
import logging
import socket
import warnings
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.errors import HypothesisDeprecationWarning, Unsatisfiable
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from typing_extensions import override

from millrace_testkit.fuzzing import effort

ANSWER_SECONDS = 30.0  # a request without an answer by then hangs
PROBLEM = "application/problem+json"

load_all_checks()
_CHECKS: Sequence[Any] = CHECKS.get_by_names(
    [
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    ]
)

Given = Mapping[str, st.SearchStrategy[Any]]


@dataclass(frozen=True, slots=True)
class Known:
    """What really exists, so that requests reach more than the refusals.

    `names`: for a path parameter, what to put there half of the time. `bodies`: by path, bodies that are nearly right.
    """

    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    bodies: Given = field(default_factory=dict)


class _Server(uvicorn.Server):
    """uvicorn that leaves the signals to pytest."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Errors(logging.Handler):
    """What the server has logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.logged: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.logged.append(logging.Formatter().format(record))


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[str]:
    """The app behind the server that it has in production, on a free port. Gives its URL.

    Fails when the server has logged an error: an exception that nobody caught, even one whose answer nobody heard.
    """
    errors = _Errors()
    logging.getLogger("uvicorn.error").addHandler(errors)
    config = uvicorn.Config(
        app, log_config=None, lifespan="off", access_log=False, timeout_graceful_shutdown=5
    )
    server = _Server(config)
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve(sockets=[place]))
        while not server.started:
            assert not serving.done(), "uvicorn did not start"
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{place.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
            logging.getLogger("uvicorn.error").removeHandler(errors)
    assert not errors.logged, "\n".join(errors.logged)


async def hold_to_its_document(
    app: Any, known: Known, *, examples: int = 15, but: Collection[str] = ()
) -> list[str]:
    """Fuzz every operation of the app's OpenAPI document; raises what schemathesis raises. Returns the operations.

    `but` names checks that do not hold here.
    """
    async with listening(app) as url:
        with _the_app_may_use_chance():
            return await asyncio.to_thread(_fuzz_all, url, known, examples, frozenset(but))


@contextmanager
def _the_app_may_use_chance() -> Iterator[None]:
    """The app runs beside the strategies in one process: when it uses `random`, hypothesis takes it for theirs."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Do not use the `random` module", HypothesisDeprecationWarning
        )
        yield


def _fuzz_all(url: str, known: Known, examples: int, but: Collection[str]) -> list[str]:
    with requests.Session() as session:
        document = session.get(f"{url}/openapi.json", timeout=ANSWER_SECONDS).json()
        config = SchemathesisConfig.from_dict({"generation": {"deterministic": True}})
        schema = schemathesis.openapi.from_dict(document, config=config)
        schema.config.update(base_url=url)
        labels = []
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            for mode in GenerationMode:
                _fuzz(operation, mode, session, known, examples, but)
            labels.append(operation.label)
    return labels


def _fuzz(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    session: requests.Session,
    known: Known,
    examples: int,
    but: Collection[str],
) -> None:
    checks = [check for check in _CHECKS if check.__name__ not in but]
    conforming = [check for check in checks if check.__name__ != "negative_data_rejection"]
    real = _real(operation, known)

    @effort(examples)
    @given(case=operation.as_strategy(generation_mode=mode), real=real)
    def holds(case: Case[Any], real: dict[str, Any]) -> None:
        names, body = real.get("names"), real.get("body")
        if names:
            case.path_parameters = {**(case.path_parameters or {}), **names}
        if body is not None:
            case.body = body
        response = case.call(session=session, timeout=ANSWER_SECONDS)
        _never_broken(case, response)
        # what was wrong may have been made right
        is_as_made = not names and body is None
        case.validate_response(response, checks=checks if is_as_made else conforming)

    try:
        holds()
    except Unsatisfiable:  # nothing can be wrong with it: no parameters, or every text is one
        if mode is GenerationMode.POSITIVE:
            raise


def _real(
    operation: APIOperation[Any, Any, Any, Any], known: Known
) -> st.SearchStrategy[dict[str, Any]]:
    """Sometimes real names, sometimes a body that is nearly right, sometimes neither: what schemathesis made stays."""
    names = {
        parameter.name: st.sampled_from(known.names[parameter.name])
        for parameter in operation.path_parameters
        if parameter.name in known.names
    }
    kinds = {"names": st.none() | st.fixed_dictionaries(names)}
    body = known.bodies.get(operation.path)
    if body is not None and operation.method == "post":
        kinds["body"] = st.none() | body
    return st.fixed_dictionaries(kinds)


def _never_broken(case: Case[Any], response: Response) -> None:
    """No 5xx but a 503 that says when to come back; and every refusal says in words what is wrong."""
    status = response.status_code
    where = f"{case.as_curl_command()} answered {status}: {response.text[:2000]}"
    assert status < 500 or (status == 503 and response.headers.get("retry-after")), where
    if status >= 400:
        assert_refusal(response.headers["content-type"][0], response.json(), status)


def assert_refusal(content_type: str, body: Any, status: int) -> None:
    """An RFC 9457 problem, or the Open Inference Protocol's error."""
    if content_type == PROBLEM:
        assert {"type", "title", "status", "detail"} <= body.keys(), body
        assert body["status"] == status, body
        assert body["detail"], body
        assert body["title"], body
    else:
        assert content_type == "application/json", content_type
        assert set(body) == {"error"}, body
        assert body["error"], body
