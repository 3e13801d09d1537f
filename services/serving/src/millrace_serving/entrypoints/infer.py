"""`/infer` on bare ASGI: a framework's routing, parsing and validation would take several times what the answer takes."""

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from millrace_serving.entrypoints.general import Infer


class HotPath:
    """The app, with what is asked most often taken out of its hands."""

    def __init__(self, infer: Infer, app: ASGIApp) -> None:
        self._infer = infer
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _asked(scope)
        if asked is None:
            await self._app(scope, receive, send)
            return
        try:
            reply = await self._infer.reply(*asked, scope["headers"], receive)
        except ClientDisconnect:
            return
        headers = (*reply.headers, (b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})


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
