"""Any request to `/infer`, however it is written: what the hot path does not know is answered here."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from millrace_kernel.errors import TransientError
from millrace_service.http import RETRY_AFTER_SECONDS
from millrace_serving.application.errors import NoAnswerError, UnknownModelError
from millrace_serving.application.inference import Answered, Inference
from millrace_serving.domain.tensors import RequestRefusedError

LARGEST_BODY = 10 * 1024 * 1024
# Bytes; a larger request would hold up the event loop, and is answered in a thread
ANSWERED_IN_PLACE = 64 * 1024

Headers = Iterable[tuple[bytes, bytes]]


class TooLargeError(ValueError):
    """The body is longer than a request may be."""


class UnreadableBodyError(ValueError):
    """The body is written in a way that is not read here."""


STATUS: dict[type[Exception], int] = {
    RequestRefusedError: 400,
    UnknownModelError: 404,
    TooLargeError: 413,
    UnreadableBodyError: 415,
    NoAnswerError: 503,
    TransientError: 503,
}
_REFUSALS = tuple(STATUS)
_JSON = (b"content-type", b"application/json")
_RETRY = (b"retry-after", b"%d" % RETRY_AFTER_SECONDS)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back. `body` is JSON."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def refusal(error: Exception) -> Reply:
    """The protocol's answer to one of the errors in STATUS."""
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    again = (_RETRY,) if status == STATUS[TransientError] else ()
    return Reply(status, orjson.dumps({"error": str(error)}), (_JSON, *again))


class Infer:
    """Answers one request to `/infer`, whoever has routed it here."""

    def __init__(self, inference: Inference, ready: Callable[[], bool]) -> None:
        self._inference = inference
        self._ready = ready

    async def reply(
        self, name: str, version: str | None, headers: Headers, receive: Receive
    ) -> Reply:
        """The answer or the refusal. Raises ClientDisconnect when nobody waits for either."""
        try:
            self.check_ready()
            with self._inference.asked():
                content = await _content(headers, receive)
                if len(content) <= ANSWERED_IN_PLACE:
                    answered, body = self._answer(name, version, content)
                else:
                    answered, body = await asyncio.to_thread(self._answer, name, version, content)
                await self._inference.publish(answered)
        except _REFUSALS as error:
            return refusal(error)
        return Reply(200, body, (_JSON,))

    def check_ready(self) -> None:
        if not self._ready():
            raise NoAnswerError("this instance is still reading history; try again in a moment")

    def _answer(self, name: str, version: str | None, content: bytes) -> tuple[Answered, bytes]:
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise RequestRefusedError(f"the body is not JSON: {error}") from error
        answered = self._inference.answer(name, version, body)
        return answered, orjson.dumps(answered.response)


async def _content(headers: Headers, receive: Receive) -> bytes:
    """The body, read no further than it may be long."""
    _check(headers)
    message = await receive()
    content: bytes = message.get("body", b"")
    if message.get("more_body", False):
        whole = bytearray(content)
        while message.get("more_body", False) and len(whole) <= LARGEST_BODY:
            message = await receive()
            whole += message.get("body", b"")
        content = bytes(whole)
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    if len(content) > LARGEST_BODY:
        raise _too_large()
    return content


def _check(headers: Headers) -> None:
    for name, value in headers:
        if name == b"content-length":
            if int(value) > LARGEST_BODY:
                raise _too_large()
        elif name == b"inference-header-content-length":
            raise RequestRefusedError(
                "binary tensors are not understood; send JSON (tritonclient: binary_data=False)"
            )
        elif name == b"content-encoding" and value != b"identity":
            raise UnreadableBodyError(
                "compressed requests are not understood; send the JSON as it is"
            )


def _too_large() -> TooLargeError:
    return TooLargeError(
        f"the request is larger than {LARGEST_BODY} bytes; ask for fewer rows at once"
    )
