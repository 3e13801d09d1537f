"""Plain requests to `/infer`, answered where the server has read them: below ASGI.

For one request uvicorn makes a scope, a task, an event and two writes, which takes longer than the answer does. So this
protocol looks at each request first. What is a plain one for a champion that answers by a plan, it answers at once; any
other it hands on as if it had never looked, so that there is one meaning, and `HotPath` keeps it.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any, cast

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from millrace_serving.entrypoints.general import ANSWERED_IN_PLACE

logger = logging.getLogger(__name__)

# The response to a body for the pipeline of this name; None: it is not for a plan, and nothing has happened
AtOnce = Callable[[str, bytes], bytes | None]

_INFER = re.compile(rb"/v2/models/([a-z][a-z0-9-]{0,62})/infer")
# With one of these, a request means something that only the server or the app knows
_UNUSUAL = frozenset(
    {
        b"content-encoding",
        b"expect",
        b"inference-header-content-length",
        b"transfer-encoding",
        b"upgrade",
    }
)


class HotProtocol(HttpToolsProtocol):
    """One connection. `at_once` is asked on the event loop's thread, and must not wait.

    A request is looked at from `on_message_begin` to `on_message_complete`; from the moment that it is seen to be none
    for a plan, what has been held back is played to uvicorn's own protocol, which takes it from there.
    """

    def __init__(self, *args: Any, at_once: AtOnce, **more: Any) -> None:  # noqa: ANN401  uvicorn's arguments
        super().__init__(*args, **more)
        self._at_once = at_once
        self._may_look = self.limit_concurrency is None and not self.root_path
        self._is_looking = False
        self._is_last = False  # the server stops: this request is answered, and no other one
        self._name = ""
        self._content = b""
        self._defaults: list[tuple[bytes, bytes]] | None = None
        self._head = b""

    @override
    def on_message_begin(self) -> None:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # none before the first request
        if self._may_look and (cycle is None or cycle.response_complete):
            self._is_looking = True
            self.url = b""
            self.headers = []
            self._content = b""
        else:
            super().on_message_begin()

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_looking:
            self.headers.append((name, value))
        else:
            super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        if not self._is_looking:
            super().on_headers_complete()
        elif not self._is_plain():
            self._hand_on()

    def _is_plain(self) -> bool:
        """Whether it may be for a plan, as far as one can see before its body."""
        if self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return False
        for name, value in self.headers:
            lowered = name.lower()
            if lowered in _UNUSUAL:
                return False
            if lowered == b"connection" and value.lower() != b"keep-alive":
                return False
        found = _INFER.fullmatch(self.url)
        self._name = found[1].decode() if found else ""
        return found is not None

    @override
    def on_body(self, body: bytes) -> None:
        if not self._is_looking:
            super().on_body(body)
            return
        self._content = self._content + body if self._content else body
        if len(self._content) > ANSWERED_IN_PLACE:
            self._hand_on()

    @override
    def on_message_complete(self) -> None:
        if not self._is_looking:
            super().on_message_complete()
            return
        answer = self._answer()
        if answer is None:
            self._hand_on()
            super().on_message_complete()
        else:
            self._is_looking = False
            self._send(answer)

    def _answer(self) -> bytes | None:
        if self.flow.write_paused or self.transport.is_closing():
            return None
        try:
            return self._at_once(self._name, self._content)
        except Exception:  # the parser would take it for a bad request
            logger.exception("a plan failed; the app is asked instead")
            return None

    def _hand_on(self) -> None:
        """Play what was held back of this request to the server."""
        self._is_looking = False
        url, headers, content = self.url, self.headers, self._content
        super().on_message_begin()
        super().on_url(url)
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()
        if self._is_last and self.cycle is not None:
            self.cycle.keep_alive = False
        if content:
            super().on_body(content)

    def _send(self, body: bytes) -> None:
        ending = b"\r\nconnection: close\r\n\r\n" if self._is_last else b"\r\n\r\n"
        self.transport.write(b"%b%d%b%b" % (self._beginning(), len(body), ending, body))
        self.server_state.total_requests += 1
        if self._is_last:
            self.transport.close()
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _beginning(self) -> bytes:
        """The response up to its length. uvicorn makes the headers that all responses have anew each second."""
        defaults = self.server_state.default_headers
        if defaults is not self._defaults:
            self._defaults = defaults
            common = b"".join(b"%b: %b\r\n" % header for header in defaults)
            self._head = (
                b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: " % common
            )
        return self._head

    @override
    def shutdown(self) -> None:
        if self._is_looking:
            self._is_last = True
        else:
            super().shutdown()


def hot_protocol(at_once: AtOnce) -> Callable[..., asyncio.Protocol]:
    """What uvicorn is given as its `http`: makes a protocol for each connection."""

    def made(*args: Any, **more: Any) -> asyncio.Protocol:  # noqa: ANN401  uvicorn's arguments
        return HotProtocol(*args, at_once=at_once, **more)

    return made
