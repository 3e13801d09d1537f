"""Raw messages: JSON, bare or in CloudEvents (structured or binary), to submissions.

Whatever the bytes are, the answer is a submission or an UnreadableError that says what to send instead.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from millrace_contracts.message import Message
from millrace_ingestion.domain.events import (
    LABEL_TYPE,
    MAX_VALUE_BYTES,
    RETRACTION_TYPE,
    Kind,
    Submission,
)
from millrace_ingestion.domain.problems import UnreadableError, shown
from millrace_kernel.time import EARLIEST, LATEST, Instant

STRUCTURED = "application/cloudevents+json"

_KINDS = {LABEL_TYPE: Kind.LABEL, RETRACTION_TYPE: Kind.RETRACTION}
_REPEATED = ("ce_id", "ce_correlationid", "ce_recordedtime")  # in whatever we make of the message
_LONGEST_HEADER = 255
_CLOUDEVENTS = b"application/cloudevents"
_ESCAPED_COLON = b"\\u003"  # how \u003a and \u003A begin
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read_message(message: Message) -> Submission:
    """Decode one record of a raw topic. Raises UnreadableError, and nothing else."""
    headers = message.headers
    if headers:
        _refuse_bad_headers(headers)
    try:
        recorded_at = message.recorded_at
    except (ValueError, OverflowError):
        raise UnreadableError("the header recordedtime is not a time", "send RFC 3339") from None
    if message.is_tombstone:
        raise UnreadableError(
            "the value is empty", "send a JSON object; label: null takes a label back"
        )
    return read_submission(message.value, headers, recorded_at)


def read_submission(value: bytes, headers: Mapping[str, bytes], recorded_at: Instant) -> Submission:
    """Decode one raw message, from Kafka or HTTP. Raises UnreadableError, and nothing else."""
    if not EARLIEST <= recorded_at <= LATEST:
        raise UnreadableError(
            "its timestamp is on no calendar", "let the producer or the broker set it"
        )
    body = read_object(value)
    if not headers:  # bare JSON from a plain producer
        return Submission(Kind.EVENT, body, recorded_at)
    content_type = headers.get("content-type", b"")
    if content_type[: len(_CLOUDEVENTS)].lower() == _CLOUDEVENTS:
        return _structured(body, content_type, headers, recorded_at)
    return _binary(body, headers, recorded_at)


def split_batch(value: bytes) -> list[bytes]:
    """The elements of a JSON list, byte for byte as they were sent. Raises UnreadableError."""
    try:
        return [bytes(element) for element in _elements(value)]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnreadableError(
            f"the body is no JSON list ({error})", "send a list of CloudEvents"
        ) from None


def read_object(value: bytes) -> dict[str, Any]:
    """A JSON object in which each key stands once. Raises UnreadableError."""
    if len(value) > MAX_VALUE_BYTES:
        raise UnreadableError(
            f"the value has {len(value)} bytes", f"send at most {MAX_VALUE_BYTES}"
        )
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(
            f"the value is not JSON ({error})", "send one JSON object in UTF-8"
        ) from None
    if type(body) is not dict:
        raise UnreadableError(f"the value is {shown(body)}", "send one JSON object")
    _refuse_duplicate_keys(value, body)
    return body


def _refuse_duplicate_keys(value: bytes, body: dict[str, Any]) -> None:
    """The decoder keeps the last of two equal keys. So write back what it kept: fewer colons mean that a key was lost.

    Only the escape \\u003a hides a colon from the count; values with one, or that lost a key, are read again slowly.
    A flat object need not be written back: one colon for each key that was kept and those in its texts are all there are.
    As many colons as keys were kept: then there are none in its texts, and none of an object within.
    """
    colons = value.count(b":")
    is_without_lists = b"[" not in value
    if is_without_lists and colons == len(body):
        return
    hides = _ESCAPED_COLON in value
    if not hides and is_without_lists:
        in_texts = sum([kept.count(":") for kept in body.values() if type(kept) is str])
        if len(body) + in_texts == colons:
            return
    try:
        kept = orjson.dumps(body)
    except (TypeError, ValueError):  # deeper than 254: it reads more than it writes
        raise UnreadableError("the value is nested too deep", "send a flat object") from None
    if kept.count(b":") == colons and not hides:
        return
    json.loads(value, object_pairs_hook=_each_once, parse_int=str, parse_float=str)


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise UnreadableError(
                f"the key {shown(key)} stands twice in one object", "send it once"
            )
        seen.add(key)


def _structured(
    envelope: dict[str, Any],
    content_type: bytes,
    headers: Mapping[str, bytes],
    recorded_at: Instant,
) -> Submission:
    media_type = content_type.decode("utf-8", "replace").partition(";")[0].strip().lower()
    if media_type != STRUCTURED:
        raise UnreadableError(
            f"the content type {shown(media_type)} is not read",
            f"send {STRUCTURED}, one event a record",
        )
    data = envelope.get("data")
    if type(data) is not dict:
        said = "data_base64" if "data_base64" in envelope else f"data: {shown(data)}"
        raise UnreadableError(
            f"the CloudEvent holds {said}", "send the JSON object itself as its data"
        )
    stated = _header(headers, "ce_type") or _attribute(envelope, "type")
    return Submission(
        kind=_KINDS.get(stated or "", Kind.EVENT),
        body=data,
        recorded_at=recorded_at,
        id=_attribute(envelope, "id"),
        time=_attribute(envelope, "time"),
    )


def _binary(body: dict[str, Any], headers: Mapping[str, bytes], recorded_at: Instant) -> Submission:
    return Submission(
        kind=_KINDS.get(_header(headers, "ce_type") or "", Kind.EVENT),
        body=body,
        recorded_at=recorded_at,
        id=_header(headers, "ce_id"),
        time=_header(headers, "ce_time"),
    )


def _refuse_bad_headers(headers: Mapping[str, bytes]) -> None:
    """Those that the bus passes on to every reader down the line, who trust them."""
    for name in _REPEATED:
        value = _header(headers, name)
        if value is not None and len(value) > _LONGEST_HEADER:
            raise UnreadableError(
                f"the header {name} has {len(value)} characters", f"send at most {_LONGEST_HEADER}"
            )


def _attribute(envelope: dict[str, Any], name: str) -> str | None:
    value = envelope.get(name)
    if value is None or type(value) is str:
        return value
    raise UnreadableError(f"the CloudEvent's {name} is {shown(value)}", "send a text")


def _header(headers: Mapping[str, bytes], name: str) -> str | None:
    value = headers.get(name)
    if not value:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UnreadableError(f"the header {name} is not UTF-8", "send text") from None
