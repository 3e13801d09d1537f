"""Requests that no client library would send, written to the socket byte by byte.

Each is answered with a refusal in words, or the connection is closed; never a 5xx, and the service goes on.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from millrace_testkit.fuzzing.openapi import ANSWER_SECONDS, assert_refusal, listening

_LARGE = 50_000_000
_DEEP = 1_000_000
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Rude:
    """One request: the head as it is sent (Host is added), and the body in pieces. `cut`: the client hangs up after it."""

    what: str
    head: str
    body: Sequence[bytes] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def to_every_path(path: str, method: str = "GET") -> list[Rude]:
    """What can be said wrongly about any path with a name in it: `path` holds `{name}` where the name stands."""
    names = {
        "a NUL": "%00",
        "a NUL in the middle": "bik%00es",
        "no UTF-8": "%ff%fe",
        "half a pair of surrogates": "%ed%a0%80",
        "a quote": "'%20or%201=1--",
        "a way out": "..%2f..%2fetc%2fpasswd",
        "a long one": "x" * 8_000,
        "right-to-left": "%e2%80%ae%f0%9f%9a%80",
        "a huge number": "9" * 400,
        "a format": "%25s%7b0%7d",
        "a new line": "a%0d%0aX:%20y",
    }
    return [
        Rude(f"{what} for a name", f"{method} {path.replace('{name}', name)} HTTP/1.1\r\n")
        for what, name in names.items()
    ]


def to_a_body(path: str, content_type: str) -> list[Rude]:
    """What can be wrong with a POST of JSON."""

    def post(what: str, body: bytes, sent_as: str = content_type, more: str = "") -> Rude:
        head = f"POST {path} HTTP/1.1\r\nContent-Type: {sent_as}\r\nContent-Length: {len(body)}\r\n{more}"
        return Rude(what, head, [body])

    chunked = (
        f"POST {path} HTTP/1.1\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n"
    )
    fixed = f"POST {path} HTTP/1.1\r\nContent-Type: {content_type}\r\n"
    return [
        post("no body", b""),
        post("a million lists deep", b"[" * _DEEP + b"]" * _DEEP),
        post("a million objects deep", b'{"a":' * _DEEP + b"1" + b"}" * _DEEP),
        post("objects a hundred thousand deep", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        post("objects five hundred deep", b'{"a":' * 500 + b"1" + b"}" * 500),
        post("not UTF-8", b'{"id": "\xff\xfe"}'),
        post("half a pair of surrogates", rb'{"id": "\ud800", "kind": "\udfff"}'),
        post("a NUL", rb'{"id": "\u0000", "kind": "retrain\u0000"}'),
        post("a byte order mark", b"\xef\xbb\xbf{}"),
        post("UTF-16", "{}".encode("utf-16")),
        post("NaN", b'{"id": NaN, "kind": NaN, "inputs": [NaN]}'),
        post("infinity", b'{"id": Infinity, "version": -Infinity, "inputs": [1e999]}'),
        post(
            "a number of 5,000 digits", b'{"id": %s, "version": %s}' % (b"9" * 5_000, b"9" * 5_000)
        ),
        post("a key twice", b'{"id": 1, "id": 2, "kind": "pause", "kind": "retrain"}'),
        post("a list", b"[]"),
        post("a text", b'"text"'),
        post("null", b"null"),
        post("fifty megabytes", b" " * _LARGE),
        Rude("fifty megabytes in chunks", chunked, _chunks(_LARGE)),
        Rude("a chunk that is none", chunked, [b"zz\r\n{}\r\n0\r\n\r\n"]),
        Rude("chunks without an end", chunked, [b"2\r\n{}\r\n"], cut=True),
        Rude("less than was announced", fixed + "Content-Length: 100\r\n", [b"{"], cut=True),
        Rude("a negative length", fixed + "Content-Length: -1\r\n", [b"{}"]),
        Rude("a length that is none", fixed + "Content-Length: ten\r\n", [b"{}"]),
        Rude("a huge length", fixed + "Content-Length: " + "9" * 30 + "\r\n", [b"{}"], cut=True),
        Rude(
            "two lengths", fixed + "Content-Length: 2\r\nContent-Length: 3\r\n", [b"{}"], cut=True
        ),
        Rude("a length and chunks", chunked + "Content-Length: 2\r\n", [b"2\r\n{}\r\n0\r\n\r\n"]),
        post("two content types", b"{}", more="Content-Type: text/html\r\n"),
        post("another content type", b"{}", sent_as="application/xml"),
        post("a content type that is none", b"{}", sent_as="\xff;;==/"),
        post("a form", b"a=1", sent_as="application/x-www-form-urlencoded"),
        post("multipart without parts", b"--x", sent_as="multipart/form-data; boundary=x"),
        post("compressed", b"\x1f\x8b\x08", more="Content-Encoding: gzip\r\n"),
        post("a trace that is none", b"{}", more="traceparent: 00-zz\r\ntraceparent: \xff\r\n"),
    ]


def to_the_methods(path: str) -> list[Rude]:
    methods = [
        "PUT",
        "PATCH",
        "DELETE",
        "TRACE",
        "CONNECT",
        "OPTIONS",
        "PROPFIND",
        "get",
        "X" * 3_000,
    ]
    return [
        Rude(f"the method {method[:10]}", f"{method} {path} HTTP/1.1\r\n") for method in methods
    ] + [
        Rude("an override", f"GET {path} HTTP/1.1\r\nX-HTTP-Method-Override: DELETE\r\n"),
        Rude("no version", f"GET {path}\r\n", cut=True),
        Rude("another version", f"GET {path} HTTP/9.9\r\n", cut=True),
        Rude("a line without end", "GET /" + "a" * 200_000 + " HTTP/1.1\r\n", cut=True),
        Rude("a header without end", f"GET {path} HTTP/1.1\r\nX: {'y' * 200_000}\r\n", cut=True),
        Rude("ten thousand headers", f"GET {path} HTTP/1.1\r\n" + "X: y\r\n" * 10_000, cut=True),
        Rude("no request at all", "\x16\x03\x01\x02", cut=True),
    ]


async def each_is_refused(app: Any, requests: Sequence[Rude]) -> AsyncIterator[tuple[Rude, Answer]]:
    """Send each on a connection of its own, after each a look whether the service still lives. Gives what was answered."""
    async with listening(app) as url:
        for rude in requests:
            answer = await _sent(url, rude)
            if answer is not None:
                _judge(rude, answer)
                yield rude, answer
            health = await _sent(url, Rude("health", "GET /health/live HTTP/1.1\r\n"))
            assert health is not None, rude.what
            assert health.status == 200, rude.what


def _judge(rude: Rude, answer: Answer) -> None:
    said = f"{rude.what}: {answer.status} {answer.body[:2000]!r}"
    assert answer.status < 500, said
    content_type = answer.headers.get("content-type", "")
    is_the_servers_own = content_type.startswith("text/plain") and answer.status in (400, 431)
    if answer.status >= 400 and not is_the_servers_own:
        assert content_type.endswith("json"), said
        assert_refusal(content_type, json.loads(answer.body), answer.status)
    if answer.status == 405:
        assert answer.headers.get("allow"), said


class _Client(asyncio.Protocol):
    """Keeps what it is told while it still speaks: who sends too much is answered before the end, and hung up on."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.is_over = asyncio.Event()
        self.can_write = asyncio.Event()
        self.can_write.set()

    @override
    def data_received(self, data: bytes) -> None:
        self.heard += data

    @override
    def pause_writing(self) -> None:
        self.can_write.clear()

    @override
    def resume_writing(self) -> None:
        self.can_write.set()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over.set()
        self.can_write.set()


async def _sent(url: str, rude: Rude) -> Answer | None:
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    async with asyncio.timeout(ANSWER_SECONDS):
        loop = asyncio.get_running_loop()
        transport, client = await loop.create_connection(_Client, place.hostname, place.port)
        transport.write(f"{rude.head}Host: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
        for piece in rude.body:
            await client.can_write.wait()
            if client.is_over.is_set():
                break
            transport.write(piece)
        if rude.cut and not transport.is_closing():
            transport.write_eof()
        await client.is_over.wait()
    return _answer(bytes(client.heard))


def _answer(content: bytes) -> Answer | None:
    if not content:
        return None
    head, _, body = content.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    return Answer(int(first.split()[1]), headers, body)


def _chunks(size: int) -> list[bytes]:
    chunk = b"%x\r\n" % _CHUNK + b" " * _CHUNK + b"\r\n"
    return [chunk] * (size // _CHUNK) + [b"0\r\n\r\n"]
