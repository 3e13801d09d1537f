"""A connection that looks at requests first answers as uvicorn's own does, however the bytes come in."""

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from millrace_serving.entrypoints.general import ANSWERED_IN_PLACE
from millrace_serving.entrypoints.hot_protocol import hot_protocol
from millrace_testkit.eventually import eventually
from millrace_testkit.fuzzing import effort

PLAIN = b'{"plain": true}'
SPECIAL = b'{"special": true}'


def _said(name: str, content: bytes, padding: bytes = b"") -> bytes:
    return b'{"name":"%b",%b"bytes":%d}' % (name.encode(), padding, len(content))


@dataclass
class Answers:
    """A plan for what is plain, and an app for everything; both say the same."""

    by_plan: list[str] = field(default_factory=list)
    by_app: list[str] = field(default_factory=list)
    broken: bool = False
    padding: bytes = b""
    going_on: asyncio.Event = field(default_factory=asyncio.Event)

    def at_once(self, name: str, content: bytes) -> bytes | None:
        if self.broken:
            raise ZeroDivisionError("a plan with a bug")
        if not content.startswith(PLAIN):
            return None
        self.by_plan.append(name)
        return _said(name, content, self.padding)

    async def app(self, scope, receive, send) -> None:
        content, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            content += message["body"]
            more = message["more_body"]
        self.by_app.append(scope["path"])
        if scope["path"] == "/slow":
            await self.going_on.wait()
        name = scope["path"].split("/")[3] if scope["path"].count("/") > 3 else ""
        body = _said(name, content, self.padding)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@dataclass
class Server:
    """A real listener whose connections are of one protocol."""

    port: int
    state: ServerState
    answers: Answers

    async def talk(self, *pieces: bytes, until: int) -> bytes:
        """What comes back for these bytes, sent one by one, until so many answers are whole or the connection ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        said = b""
        while _whole(said) < until and (more := await reader.read(65536)):
            said += more
        writer.close()
        return said


def _whole(said: bytes) -> int:
    return len(re.findall(rb'"bytes":\d+\}', said))


@asynccontextmanager
async def serving(kind: str = "hot", **settings):
    answers, state = Answers(), ServerState()
    state.default_headers = [(b"server", b"uvicorn")]
    config = uvicorn.Config(
        answers.app, log_config=None, lifespan="off", interface="asgi3", **settings
    )
    config.load()
    make = hot_protocol(answers.at_once) if kind == "hot" else HttpToolsProtocol
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: make(config, state, {}, loop), "127.0.0.1", 0)
    try:
        yield Server(listener.sockets[0].getsockname()[1], state, answers)
    finally:
        listener.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await listener.wait_closed()
        await asyncio.sleep(0)


def request(
    content: bytes = PLAIN,
    path: bytes = b"/v2/models/alpha/infer",
    method: bytes = b"POST",
    version: bytes = b"1.1",
    headers: tuple[bytes, ...] = (),
) -> bytes:
    lines = (b"%b %b HTTP/%b" % (method, path, version), b"Host: x", *headers)
    return b"\r\n".join((*lines, b"Content-Length: %d" % len(content), b"", content))


def chunked(content: bytes) -> bytes:
    head = b"POST /v2/models/alpha/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)


ODD = {
    "another method": request(b"", method=b"GET"),
    "another method with a body": request(method=b"PUT"),
    "another path": request(path=b"/v2/models/alpha/versions/2/infer"),
    "a query": request(path=b"/v2/models/alpha/infer?x=1"),
    "an escape": request(path=b"/v2/models/al%70ha/infer"),
    "compressed": request(headers=(b"Content-Encoding: gzip",)),
    "binary tensors": request(headers=(b"Inference-Header-Content-Length: 5",)),
    "chunked": chunked(PLAIN),
    "what no plan knows": request(SPECIAL),
    "no body": request(b""),
    "large": request(PLAIN + b" " * ANSWERED_IN_PLACE),
    "an upgrade": request(headers=(b"Connection: Upgrade", b"Upgrade: h2c")),
}
ORDINARY = {
    "plain": request(),
    "kept alive": request(headers=(b"Connection: Keep-Alive",)),
    "padded": request(PLAIN + b" " * 1_000),
    "of another model": request(path=b"/v2/models/beta-2/infer"),
}


@pytest.mark.parametrize("what", ORDINARY)
async def test_a_plain_request_never_reaches_the_app(what: str) -> None:
    async with serving() as server:
        said = await server.talk(ORDINARY[what], until=1)
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert len(server.answers.by_plan) == 1
        assert server.answers.by_app == []


async def test_a_body_may_come_in_pieces() -> None:
    async with serving() as server:
        asked, size = request(PLAIN + b" " * 1_000), len(request()) + 300
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(asked[:size])
        await eventually(lambda: any(each._content for each in server.state.connections))
        writer.write(asked[size:])
        assert b'"bytes":1015}' in await reader.readuntil(b"}")
        assert server.answers.by_app == []
        writer.close()


@pytest.mark.parametrize("what", ODD)
async def test_any_other_one_is_the_app_s(what: str) -> None:
    async with serving() as server:
        said = await server.talk(ODD[what], until=1)
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert server.answers.by_plan == []
        assert len(server.answers.by_app) == 1


@given(
    # after an upgrade that is not understood, uvicorn ends the connection
    whats=st.lists(
        st.sampled_from(sorted({*ORDINARY, *ODD} - {"an upgrade"})), min_size=1, max_size=5
    ),
    cuts=st.lists(st.integers(0, 2_000), max_size=6),
)
@effort(60)
def test_the_same_bytes_come_back_as_from_the_server_s_own_protocol(whats, cuts) -> None:
    async def both() -> tuple[bytes, bytes]:
        content = b"".join((ORDINARY | ODD)[what] for what in whats)
        borders = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
        pieces = [content[at:end] for at, end in pairwise(borders)]
        said = []
        for kind in ("hot", "own"):
            async with serving(kind) as server:
                said.append(await server.talk(*pieces, until=len(whats)))
        return said[0], said[1]

    hot, own = asyncio.run(both())
    assert hot == own


@pytest.mark.parametrize(("version", "headers"), [(b"1.0", ()), (b"1.1", (b"Connection: close",))])
async def test_a_connection_that_is_to_end_ends(version: bytes, headers) -> None:
    async with serving() as server:
        said = await server.talk(request(version=version, headers=headers), until=2)
        assert b"connection: close" in said
        assert _whole(said) == 1


async def test_who_expects_to_be_told_to_go_on_is_told() -> None:
    async with serving() as server:
        head, _, body = request(headers=(b"Expect: 100-continue",)).partition(b"\r\n\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head + b"\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(body)
        assert b'"bytes"' in await reader.readuntil(b"}")
        writer.close()


async def test_a_plain_request_behind_one_that_is_being_answered_waits_for_its_turn() -> None:
    async with serving() as server:
        talking = asyncio.ensure_future(
            server.talk(request(path=b"/slow") + request(PLAIN + b"  "), until=2)
        )
        await eventually(lambda: server.answers.by_app)
        server.answers.going_on.set()
        said = await talking
        assert [int(size) for size in re.findall(rb'"bytes":(\d+)', said)] == [15, 17]


async def test_a_plan_that_fails_leaves_the_answer_to_the_app(caplog) -> None:
    async with serving() as server:
        server.answers.broken = True
        said = await server.talk(request(), until=1)
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert len(server.answers.by_app) == 1
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("content", [PLAIN, SPECIAL])
async def test_a_request_that_has_begun_is_answered_before_the_server_stops(content: bytes) -> None:
    async with serving() as server:
        asked = request(content)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(asked[:-5])
        await eventually(lambda: _begun(server))
        for connection in server.state.connections:
            connection.shutdown()
        writer.write(asked[-5:] + request())
        said = await reader.read()  # to the end of the connection
        assert _whole(said) == 1
        assert b"connection: close" in said
        assert (
            len(server.answers.by_plan + server.answers.by_app) == 1
        )  # nor is the next one logged
        writer.close()


def _begun(server: Server) -> bool:
    return any(connection.url for connection in server.state.connections if connection.headers)


async def test_an_idle_connection_is_closed_when_the_server_stops_or_nothing_is_asked() -> None:
    async with serving(timeout_keep_alive=0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request())
        assert _whole(await reader.read()) == 1  # reads to the end: the server has closed it
        assert server.state.total_requests == 1
        writer.close()


async def test_a_connection_on_which_nothing_is_asked_closes_at_once_when_the_server_stops() -> (
    None
):
    async with serving(timeout_keep_alive=3_600) as server:  # else that would close it soon
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request())
        await reader.readuntil(b"}")
        for connection in server.state.connections:
            connection.shutdown()
        assert await asyncio.wait_for(reader.read(), timeout=20) == b""
        writer.close()


async def test_the_headers_of_all_responses_are_those_of_now() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for date in (b"first", b"second"):
            server.state.default_headers = [(b"date", date)]
            writer.write(request())
            assert b"\r\ndate: %b\r\n" % date in await reader.readuntil(b"}")
        writer.close()


async def test_who_asks_without_reading_the_answers_is_made_to_wait() -> None:
    many, padding = 300, b'"padding":"%b",' % (b"x" * 100_000)
    async with serving() as server:
        server.answers.padding = padding
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1_000)
        writer.write(request() * many)
        # a plan can't wait for the client, the app can: from then on it is asked, for one after the other
        await eventually(lambda: server.answers.by_app)
        assert len(server.answers.by_plan) + len(server.answers.by_app) < many
        whole, tail = 0, b""
        while whole < many and (more := await reader.read(1 << 20)):
            tail += more
            whole += _whole(tail)
            tail = tail[tail.rfind(b"}") + 1 :]
        assert whole == many
        writer.close()


async def test_a_server_with_a_limit_of_connections_keeps_it() -> None:
    async with serving(limit_concurrency=1) as server:
        said = await server.talk(request(), until=1)
        assert b" 503 " in said
        assert server.answers.by_plan == []
