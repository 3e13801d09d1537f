"""Any request to `/infer`, however it is written: what the hot path does not know is answered here."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from starlette.types import Receive

from millrace_kernel.errors import TransientError
from millrace_service.http import RETRY_AFTER_SECONDS
from millrace_serving.application.errors import (
    ModelNotLoadedError,
    NoAnswerError,
    UnknownModelError,
)
from millrace_serving.application.inference import Answered, Inference
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.domain.outputs import Json
from millrace_serving.entrypoints.bodies import LARGEST_BODY as LARGEST_BODY
from millrace_serving.entrypoints.bodies import (
    Head,
    Header,
    Headers,
    TooLargeError,
    UnreadableBodyError,
    answer_of,
    chosen,
    content_of,
    head_of,
    packed,
    question_of,
    unpacked,
)

# Bytes; a larger request would hold up the event loop, and is answered in a thread
ANSWERED_IN_PLACE = 64 * 1024

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
    """What is sent back."""

    status: int
    body: bytes
    headers: tuple[Header, ...]


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
                head = head_of(headers)
                return await self._reply(name, version, head, await content_of(receive))
        except _REFUSALS as error:
            return refusal(error)

    async def reply_to(
        self, name: str, version: str | None, headers: Headers, content: bytes
    ) -> Reply:
        """The same, for one whose body has been read; the caller has checked that it may be asked, and holds `asked`."""
        try:
            return await self._reply(name, version, head_of(headers), content)
        except _REFUSALS as error:
            return refusal(error)

    def check_ready(self) -> None:
        if not self._ready():
            raise NoAnswerError("this instance is still reading history; try again in a moment")

    async def _reply(self, name: str, version: str | None, head: Head, content: bytes) -> Reply:
        try:
            return await self._reply_at_once(name, version, head, content)
        except ModelNotLoadedError:
            await self._inference.loaded(name)
            return await self._reply_at_once(name, version, head, content)

    async def _reply_at_once(
        self, name: str, version: str | None, head: Head, content: bytes
    ) -> Reply:
        if len(content) <= ANSWERED_IN_PLACE and head.encoding is None:
            answered, question = self._answer(name, version, head, content)
            await self._inference.explain(answered)
            body, headers = answer_of(answered.response, question)
        else:
            answered, question = await asyncio.to_thread(self._answer, name, version, head, content)
            await self._inference.explain(answered)
            body, headers = await asyncio.to_thread(answer_of, answered.response, question)
        encoding = chosen(head.accepts, len(body))
        if encoding is not None:
            body, more = await asyncio.to_thread(packed, body, encoding)
            headers = (*headers, *more)
        await self._inference.publish(answered)
        return Reply(200, body, headers)

    def _answer(
        self, name: str, version: str | None, head: Head, content: bytes
    ) -> tuple[Answered, Json]:
        if head.encoding is not None:
            content = unpacked(content, head.encoding)
        question = question_of(content, head.json_length)
        return self._inference.answer(name, version, question), question
