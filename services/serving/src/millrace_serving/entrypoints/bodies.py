"""Bodies of requests to `/infer` and of their answers: JSON, JSON with binary tensors behind it, compressed or not."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from millrace_serving.domain.binary import Raw, encoded
from millrace_serving.domain.errors import RequestRefusedError
from millrace_serving.domain.outputs import Json

LARGEST_BODY = 10 * 1024 * 1024  # bytes, as sent and unpacked
WORTH_COMPRESSING = (
    1024  # bytes; most clients say that they accept it, and of little nothing is saved
)

Header = tuple[bytes, bytes]
Headers = Iterable[Header]

_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")
_JSON_LENGTH = b"inference-header-content-length"
_VARY = (b"vary", b"accept-encoding")
_GZIP, _DEFLATE = "gzip", "deflate"
_WINDOW = {_GZIP: 16 + zlib.MAX_WBITS, _DEFLATE: zlib.MAX_WBITS}
_FAST = 1  # a body is compressed once and sent once


class TooLargeError(ValueError):
    """The body is longer than a request may be."""


class UnreadableBodyError(ValueError):
    """The body is written in a way that is not read here."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a request's headers say of its body, and of the answer's. `json_length`: None when all of it is JSON."""

    encoding: str | None
    json_length: int | None
    accepts: str


def head_of(headers: Headers) -> Head:
    """Raises TooLargeError, UnreadableBodyError, RequestRefusedError."""
    encoding, json_length, accepts = None, None, ""
    for name, value in headers:
        if name == b"content-length":
            if int(value) > LARGEST_BODY:
                raise _too_large()
        elif name == _JSON_LENGTH:
            json_length = _length(value)
        elif name == b"content-encoding":
            encoding = _encoding(value.decode("latin-1").strip().lower())
        elif name == b"accept-encoding":
            accepts = value.decode("latin-1").lower()
    return Head(encoding, json_length, accepts)


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > len(str(LARGEST_BODY)):
        raise RequestRefusedError(
            f"Inference-Header-Content-Length must be the number of bytes of the JSON, not {value[:40]!r}"
        )
    return int(value)


def _encoding(value: str) -> str | None:
    if value in ("", "identity"):
        return None
    if value in _WINDOW:
        return value
    raise UnreadableBodyError(
        f"the content encoding {value[:40]!r} is not understood; send gzip, deflate or the body as it is"
    )


async def content_of(receive: Receive) -> bytes:
    """The body, read no further than it may be long. Raises TooLargeError, ClientDisconnect."""
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


def unpacked(content: bytes, encoding: str) -> bytes:
    """The body as it was before it was compressed; no more of it is ever unpacked than it may be long.

    Raises TooLargeError, RequestRefusedError. "deflate" is the zlib format, and, as many send it, the bare one.
    """
    window = _WINDOW[encoding]
    if encoding == _DEFLATE and not _has_zlib_head(content):
        window = -zlib.MAX_WBITS
    whole = bytearray()
    while content:
        unpacker = zlib.decompressobj(window)
        try:
            whole += unpacker.decompress(content, LARGEST_BODY + 1 - len(whole))
        except zlib.error as error:
            raise RequestRefusedError(f"the body is not {encoding}: {error}") from error
        if len(whole) > LARGEST_BODY:
            raise _too_large()
        if not unpacker.eof:
            raise RequestRefusedError(f"the body ends in the middle of its {encoding}")
        content = unpacker.unused_data
    return bytes(whole)


def _has_zlib_head(content: bytes) -> bool:
    return len(content) > 1 and content[0] & 0x0F == 8 and int.from_bytes(content[:2]) % 31 == 0


def question_of(content: bytes, json_length: int | None) -> Any:  # noqa: ANN401  whatever JSON holds
    """What is asked, with `Raw` in the place of data that follows the JSON. Raises RequestRefusedError."""
    if json_length is not None and json_length > len(content):
        raise RequestRefusedError(
            f"Inference-Header-Content-Length is {json_length}, but the body has {len(content)} bytes"
        )
    try:
        question = orjson.loads(content if json_length is None else content[:json_length])
    except orjson.JSONDecodeError as error:
        raise RequestRefusedError(f"the body is not JSON: {error}") from error
    if json_length is not None:
        _attach(question, memoryview(content)[json_length:])
    return question


def _attach(question: object, content: memoryview) -> None:
    """Put the bytes behind the JSON where they belong: they stand in the order of the inputs that say how many are theirs."""
    inputs = question.get("inputs") if isinstance(question, dict) else None
    position = 0
    for given in inputs if isinstance(inputs, list) else ():
        size = _binary_size(given)
        if size is None:
            continue
        if position + size > len(content):
            raise RequestRefusedError(
                f"the input {given.get('name')!r} says it has {size} bytes, but only {len(content) - position} are left"
            )
        if "data" in given:
            raise RequestRefusedError(
                f"the input {given.get('name')!r} has both data and binary_data_size; send one of them"
            )
        given["data"] = Raw(content[position : position + size])
        position += size
    if position != len(content):
        raise RequestRefusedError(
            f"{len(content)} bytes follow the JSON, but its inputs' binary_data_size are {position} in all"
        )


def _binary_size(given: object) -> int | None:
    parameters = given.get("parameters") if isinstance(given, dict) else None
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (type(size) is not int or size < 0):
        raise RequestRefusedError(f"binary_data_size must be a number of bytes, not {size!r}")
    return size


def answer_of(response: Json, question: Mapping[str, Any]) -> tuple[bytes, tuple[Header, ...]]:
    """The body of an answer, and its headers: with the outputs as bytes that the question (which is right) wants so."""
    outputs, contents = [], []
    wanted = _wanted(question)
    for output in response["outputs"]:
        if not wanted(output["name"]):
            outputs.append(output)
            continue
        content = encoded(output["datatype"], output["data"], output["name"])
        described = {name: value for name, value in output.items() if name != "data"}
        parameters = described.get("parameters", {}) | {"binary_data_size": len(content)}
        outputs.append(described | {"parameters": parameters})
        contents.append(content)
    if not contents:
        return orjson.dumps(response), (_JSON,)
    head = orjson.dumps(response | {"outputs": outputs})
    return b"".join((head, *contents)), (_BINARY, (_JSON_LENGTH, b"%d" % len(head)))


def _wanted(question: Mapping[str, Any]) -> Callable[[str], bool]:
    parameters = question.get("parameters") or {}
    usually = parameters.get("binary_data_output") is True
    named = {
        output["name"]: (output.get("parameters") or {}).get("binary_data", usually) is True
        for output in question.get("outputs") or ()
    }
    return lambda name: named.get(name, usually)


def chosen(accepts: str, size: int) -> str | None:
    """How an answer of so many bytes is to be compressed, by the request's Accept-Encoding; None: not at all."""
    if not accepts or size < WORTH_COMPRESSING:
        return None
    weights = dict(_weight(part) for part in accepts.split(","))
    usually = weights.get("*", 0.0)
    found = {name: weights.get(name, usually) for name in (_GZIP, _DEFLATE)}
    best = max(found, key=found.__getitem__)
    return best if found[best] > 0 else None


def _weight(part: str) -> tuple[str, float]:
    name, _, parameter = part.partition(";")
    key, _, value = parameter.strip().partition("=")
    try:
        weight = float(value) if key.strip() == "q" else 1.0
    except ValueError:
        weight = 0.0
    return name.strip(), weight


def packed(body: bytes, encoding: str) -> tuple[bytes, tuple[Header, ...]]:
    """The compressed body, and the headers that say so."""
    packer = zlib.compressobj(_FAST, wbits=_WINDOW[encoding])
    content = packer.compress(body) + packer.flush()
    return content, ((b"content-encoding", encoding.encode()), _VARY)


def _too_large() -> TooLargeError:
    return TooLargeError(
        f"the request is larger than {LARGEST_BODY} bytes; ask for fewer rows at once"
    )
