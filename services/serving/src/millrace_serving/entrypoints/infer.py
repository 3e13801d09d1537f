"""`/infer` on bare ASGI: a framework's routing, parsing and validation would take several times what the answer takes."""

import asyncio
from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace_kernel.errors import TransientError
from millrace_serving.application.hot import Plan, Plans
from millrace_serving.application.inference import Inference
from millrace_serving.entrypoints.bodies import WORTH_COMPRESSING, Header, chosen, head_of, packed
from millrace_serving.entrypoints.general import ANSWERED_IN_PLACE, Infer, Reply

# a body that comes with one of these is not (only) the JSON that a plan reads
_UNUSUAL = frozenset({b"content-encoding", b"inference-header-content-length"})
_JSON = (b"content-type", b"application/json")


class HotPath:
    """The app, with what is asked most often taken out of its hands.

    A request that a plan understands is answered by the plan, and nothing waits between its body and its answer; every
    other one to `/infer` is the general way's, to the same bytes.
    """

    def __init__(
        self,
        infer: Infer,
        app: ASGIApp,
        plans: Plans,
        inference: Inference,
        ready: Callable[[], bool],
    ) -> None:
        self._infer = infer
        self._app = app
        self._plans = plans
        self._inference = inference
        self._ready = ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _asked(scope)
        if asked is None:
            await self._app(scope, receive, send)
            return
        name, version = asked
        try:
            plan = self._plan(name, version, scope)
            if plan is None:
                reply = await self._infer.reply(name, version, scope["headers"], receive)
            else:
                reply = await self._by_plan(plan, name, scope, receive)
        except ClientDisconnect:
            return
        headers = (*reply.headers, (b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def at_once(self, name: str, content: bytes) -> bytes | None:
        """The response to a plain request with this body, for whoever has read it. None: the app is to be asked, and nothing
        has happened. Only for responses that are not worth compressing."""
        if not self._ready():
            return None
        plan = self._plans.plan(name)
        if plan is None or plan.longest >= WORTH_COMPRESSING:
            return None
        return plan.answer(content)

    def _plan(self, name: str, version: str | None, scope: Scope) -> Plan | None:
        """For a request that may be one for a plan, as far as one can see before its body."""
        if version is not None or not self._ready():
            return None
        for header, _ in scope["headers"]:
            if header in _UNUSUAL:
                return None
        return self._plans.plan(name)

    async def _by_plan(self, plan: Plan, name: str, scope: Scope, receive: Receive) -> Reply:
        try:
            asking = self._inference.asked()
        except TransientError:  # the general way has the words for it
            return await self._infer.reply(name, None, scope["headers"], receive)
        with asking:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            content = message.get("body", b"")
            if message.get("more_body", False) or len(content) > ANSWERED_IN_PLACE:
                again = _Again(message, receive)
                return await self._infer.reply(name, None, scope["headers"], again)
            body = plan.answer(content)
            if body is None:
                return await self._infer.reply_to(name, None, scope["headers"], content)
        if len(body) < WORTH_COMPRESSING:
            return Reply(200, body, (_JSON,))
        return await _compressed(body, scope)


class _Again:
    """What was received once already, and then the rest."""

    def __init__(self, first: Message, rest: Receive) -> None:
        self._first: Message | None = first
        self._rest = rest

    async def __call__(self) -> Message:
        first, self._first = self._first, None
        return await self._rest() if first is None else first


async def _compressed(body: bytes, scope: Scope) -> Reply:
    """As the request accepts it."""
    encoding = chosen(head_of(scope["headers"]).accepts, len(body))
    headers: tuple[Header, ...] = (_JSON,)
    if encoding is not None:
        body, more = await asyncio.to_thread(packed, body, encoding)
        headers = (*headers, *more)
    return Reply(200, body, headers)


def _asked(scope: Scope) -> tuple[str, str | None] | None:
    """Which model and version a request is for, if it is one to `/infer`."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
        return None
    match scope["path"].split("/"):
        case ["", "v2", "models", name, "infer"]:
            return name, None
        case ["", "v2", "models", name, "versions", version, "infer"]:
            return name, version
        case _:
            return None
