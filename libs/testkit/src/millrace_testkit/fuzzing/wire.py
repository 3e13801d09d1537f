"""Bytes for a wire table: what its writers write with something changed, and anything at all."""

import importlib
import json
import pkgutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

import millrace_proto.v1
from millrace_contracts.catalogue import catalogue
from millrace_contracts.message import Message
from millrace_contracts.pipeline_file import pipeline_to_json, read_pipeline
from millrace_contracts.wire import WireTable
from millrace_kernel.errors import PermanentError
from millrace_kernel.profile import ReferenceProfile, category_column, number_column, to_json
from millrace_testkit.fuzzing import effort
from millrace_testkit.memory import MemoryRecord

_EXAMPLES = Path(__file__).resolve().parents[5] / "proto" / "examples"
_STRANGE_TEXTS = (
    "", "\0", "a\0b", "x" * 5_000, "🚀", "\u202e", "{", "null", '{"a": NaN}', "[" * 100_000, '{"a":' * 1_000,
    '"\\ud800"', "9" * 5_000, "file:///etc/passwd", "../..",
)  # fmt: skip
_PIPELINE = """
metadata: {name: bikes}
spec:
  event: {id: id, time: at, entity: station}
  fields: {temp: float, weather: category}
  features: [{name: warm, expr: temp * 2 > 1}, {name: mean, agg: mean, of: temp, window: 24h}]
  label: {field: cnt, kind: regression, delay: 1h}
"""
_PROFILE = ReferenceProfile(
    columns=(number_column("temp", [1.0, 2.0, 3.0]), category_column("weather", ["wet", "dry"])),
    prediction=number_column("prediction", [1.0, 2.0, 3.0]),
    metrics={"mae": 40.2},
    primary_metric="mae",
    rows=3,
)
# fields that hold a document of their own
_DOCUMENTS: dict[str, str | bytes] = {
    "spec_json": pipeline_to_json(read_pipeline(_PIPELINE, version=1)),
    "reference_profile": to_json(_PROFILE),
}
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]),
    FieldDescriptor.CPPTYPE_UINT32: st.sampled_from([0, 1, 2**31, 2**32 - 1]),
    FieldDescriptor.CPPTYPE_UINT64: st.sampled_from([0, 1, 2**63, 2**64 - 1]),
    FieldDescriptor.CPPTYPE_INT64: st.sampled_from(
        [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 253_402_300_800_000_000]
    ),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(-2, 9),
}
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    **_INTEGERS,
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}
_TEXTS = st.sampled_from(_STRANGE_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=5,
)
_HEADERS: dict[str, bytes] = {
    "ce_id": b"m1",
    "ce_source": b"millrace/test/millrace.events/0",
    "ce_time": b"2026-11-21T12:00:00.000000Z",
    "ce_recordedtime": b"2026-11-21T12:00:00.000000Z",
    "ce_sequence": b"0000000000000001.00000",
    "ce_correlationid": b"c1",
}


@cache
def _kinds() -> dict[str, Any]:
    """Every generated class, by its CloudEvents type."""
    package = millrace_proto.v1
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        for kind in vars(importlib.import_module(f"{package.__name__}.{module.name}")).values():
            if hasattr(kind, "FromString"):
                found[kind.DESCRIPTOR.full_name] = kind
    return found


def example(type_name: str) -> Any:
    """The committed example of a type, read into its generated class; documents in it are real ones."""
    text = (_EXAMPLES / f"{type_name.rpartition('.')[2]}.json").read_text()
    proto = json_format.Parse(text, _kinds()[type_name]())
    for field in proto.DESCRIPTOR.fields:
        if field.name in _DOCUMENTS:
            setattr(proto, field.name, _DOCUMENTS[field.name])
    return proto


@st.composite
def changed(draw: st.DrawFn, type_name: str) -> bytes:
    """The example with up to four fields changed: to what protobuf can say and nobody means."""
    proto = example(type_name)
    for _ in range(draw(st.integers(0, 4))):
        _change(draw, proto)
    for name in _DOCUMENTS.keys() & proto.DESCRIPTOR.fields_by_name.keys():
        if draw(st.booleans()):
            setattr(proto, name, draw(_documents(_DOCUMENTS[name])))
    return bytes(proto.SerializeToString(deterministic=True))


@st.composite
def broken(draw: st.DrawFn, type_name: str) -> bytes:
    """The example's bytes, cut, spoiled, or with some put in."""
    value = bytearray(draw(changed(type_name)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(value)))
        match draw(st.sampled_from(["cut", "spoil", "put in", "repeat"])):
            case "cut":
                del value[place:]
            case "spoil" if place < len(value):
                value[place] = draw(st.integers(0, 255))
            case "put in":
                value[place:place] = draw(st.binary(max_size=8))
            case _:
                value += value[place:]
    return bytes(value)


def values(type_name: str) -> st.SearchStrategy[bytes]:
    """Anything a record of the type may hold."""
    return changed(type_name) | broken(type_name) | st.binary(max_size=200)


def message_of(type_name: str, value: bytes, **headers: bytes) -> Message:
    """A message as its topic would bring it, with the bus's headers; those named are put in their place."""
    all_headers = {"ce_type": type_name.encode()} | _HEADERS | headers
    topic = catalogue().topic_of(type_name).name
    return Message(MemoryRecord(topic, 0, 0, 0, b"bikes", value, tuple(all_headers.items())))


def decoded(wire: WireTable, message: Message) -> Any:
    """What the table makes of the message; the error, when it refuses it. Raises what else it raises."""
    try:
        assert wire.decode(message), message
    except PermanentError as error:
        assert str(error), "a refusal says why"  # noqa: PT017  both ways out are allowed
        return error
    return message.event


def hold_decoders_to_their_promise(wire: WireTable, *, examples: int = 30) -> None:
    """Every type that the table reads: the example is read; anything else is read or refused in words, the same each time."""
    for type_name in sorted(wire.decoded_types):
        _hold(wire, type_name, examples)


def _hold(wire: WireTable, type_name: str, examples: int) -> None:
    right = message_of(type_name, example(type_name).SerializeToString())
    assert not isinstance(decoded(wire, right), PermanentError), type_name

    @effort(examples)
    @given(value=values(type_name), headers=_strange_headers())
    def holds(value: bytes, headers: dict[str, bytes]) -> None:
        first = decoded(wire, message_of(type_name, value, **headers))
        again = decoded(wire, message_of(type_name, value, **headers))
        assert type(first) is type(again)
        assert repr(first) == repr(again)  # NaN is not NaN; its name is

    holds()


def survives(wire: WireTable, type_name: str, encode: Callable[[Any], bytes]) -> None:
    """What was read, written and read again is the same, and is written as the same bytes."""

    @effort(40)
    @given(value=changed(type_name))
    def holds(value: bytes) -> None:
        event = decoded(wire, message_of(type_name, value))
        if isinstance(event, PermanentError):
            return
        written = encode(event)
        again = decoded(wire, message_of(type_name, written))
        assert repr(again) == repr(event)
        assert encode(again) == written

    holds()


def _strange_headers() -> st.SearchStrategy[dict[str, bytes]]:
    strange = st.sampled_from(
        [b"", b"\xff\xfe", b"\0", b"x" * 300, b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59-23:59"]
    )
    named = st.dictionaries(st.sampled_from(sorted(_HEADERS)), strange | st.binary(), max_size=2)
    return st.just({}) | named


def _change(draw: st.DrawFn, proto: Any) -> None:
    """Change one field, or one of a message in it."""
    field = draw(st.sampled_from(list(proto.DESCRIPTOR.fields)))
    if draw(st.booleans()) and field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE:
        proto.ClearField(field.name)
    elif field.message_type and field.message_type.GetOptions().map_entry:
        getattr(proto, field.name)[draw(_TEXTS)] = draw(_scalar(field.message_type.fields[1]))
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        held = getattr(proto, field.name)
        _change(draw, held.add() if field.is_repeated else held)
    elif field.is_repeated:
        getattr(proto, field.name).extend(draw(st.lists(_scalar(field), max_size=5)))
    else:
        setattr(proto, field.name, draw(_scalar(field)))


@st.composite
def _documents(draw: st.DrawFn, right: Any) -> Any:
    """A JSON document in which some values are others."""
    document = json.loads(right)
    for _ in range(draw(st.integers(1, 3))):
        holder = document
        while True:
            key = draw(
                st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder)))
            )
            if not (isinstance(holder[key], dict | list) and holder[key]) or draw(st.booleans()):
                break
            holder = holder[key]
        holder[key] = draw(_JSON)
        if not document:
            break
    text = json.dumps(document)
    return text.encode() if isinstance(right, bytes) else text


def _scalar(field: Any) -> st.SearchStrategy[Any]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        is_bytes = field.type == FieldDescriptor.TYPE_BYTES
        return _TEXTS.map(str.encode) | st.binary() if is_bytes else _TEXTS
    return _SCALARS[field.cpp_type]
