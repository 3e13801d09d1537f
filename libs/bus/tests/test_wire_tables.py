"""The wire tables of every service: whatever bytes come, they are read, or refused in words."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from millrace.wire import event_classes
from millrace_contracts.message import Message
from millrace_contracts.wire import LONGEST_ID, WireTable, instant_of, refuse_untimely
from millrace_kernel.errors import PermanentError
from millrace_kernel.time import EARLIEST, LATEST
from millrace_testkit.memory import MemoryRecord
from millrace_testkit.poison import DEEP, POISON, SQL_ONLY, Headers

SERVICES = ("ingestion", "features", "training", "registry", "serving", "monitoring")
SQL_SERVICES = ("training", "registry", "monitoring")  # they look at the recorded time


def decoders() -> list[tuple[str, WireTable, str]]:
    found = []
    for service in SERVICES:
        module = importlib.import_module(f"millrace_{service}.adapters.wire")
        for wire in vars(module).values():
            if isinstance(wire, WireTable):
                found += [(service, wire, name) for name in sorted(wire.decoded_types)]
    return found


DECODERS = decoders()
NAMED = [pytest.param(*each, id=f"{each[0]}-{each[2].rpartition('.')[2]}") for each in DECODERS]


def times_in(event: Any) -> Iterator[int]:
    """Everything in a decoded event that is called a time."""
    names = getattr(event, "__dataclass_fields__", None) or getattr(event, "__struct_fields__", ())
    for name in names:
        value = getattr(event, name)
        if name in {"at", "event_time", "known_at", "recorded_at", "as_of"} and isinstance(
            value, int
        ):
            yield value


def decoded(
    service: str, wire: WireTable, type_name: str, value: bytes, headers: Headers | None = None
) -> None:
    """It decodes into something that can be handled, or dies with a reason."""
    said = headers or [("ce_id", b"i"), ("ce_recordedtime", b"2026-01-01T00:00:00Z")]
    record = MemoryRecord("t", 0, 0, 1_000, b"k", value, (*said, ("ce_type", type_name.encode())))
    message = Message(record)
    try:
        assert wire.decode(message)
        if service in SQL_SERVICES:
            refuse_untimely(message)
    except PermanentError:
        return
    for time in times_in(message.event):
        assert EARLIEST <= time <= LATEST, (
            f"{type_name} brings a time that no header can say: {time}"
        )


JSON_BYTES = (b"", b"[" * DEEP, b'{"columns":' * DEEP, b"\xff", b"9" * 5_000, b"NaN", b"null", b"{}",
    b'{"columns": [], "prediction": {}, "metrics": [], "primary_metric": 1, "rows": 1e999}')  # fmt: skip


INT64 = 2**63
EXTREMES: Mapping[int, tuple[Any, ...]] = {
    FieldDescriptor.CPPTYPE_INT64: (INT64 - 1, -INT64, -1, 0, LATEST + 1),
    FieldDescriptor.CPPTYPE_UINT64: (2**64 - 1, 0),
    FieldDescriptor.CPPTYPE_INT32: (2**31 - 1, -(2**31)),
    FieldDescriptor.CPPTYPE_UINT32: (2**32 - 1, 0),
    FieldDescriptor.CPPTYPE_DOUBLE: (float("nan"), float("inf"), float("-inf"), 1e308, -0.0),
    FieldDescriptor.CPPTYPE_FLOAT: (float("nan"), float("inf")),
    FieldDescriptor.CPPTYPE_BOOL: (True, False),
    FieldDescriptor.CPPTYPE_ENUM: (99, -1, 0),
    FieldDescriptor.CPPTYPE_STRING: (
        "\0", "x" * 1_000_000, "[" * DEEP, '{"a":' * DEEP, "{}", "null", "[]", "1e999",
        '{"metadata": null, "spec": [], "apiVersion": 1e999}', "9" * 400, "NaN", '{"columns": NaN}',
    ),
}  # fmt: skip


def extremes_of(field: FieldDescriptor) -> tuple[Any, ...]:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return JSON_BYTES
    return EXTREMES.get(field.cpp_type, ())


@pytest.mark.parametrize(("service", "wire", "type_name"), NAMED)
def test_every_field_of_every_event_may_hold_anything(
    service: str, wire: WireTable, type_name: str
) -> None:
    kind = event_classes()[type_name]
    for field in kind.DESCRIPTOR.fields:
        if field.message_type is not None:
            continue
        for value in extremes_of(field):
            message = kind()
            if field.is_repeated:
                getattr(message, field.name).extend([value] * 3)
            else:
                setattr(message, field.name, value)
            decoded(service, wire, type_name, message.SerializeToString())


@pytest.mark.parametrize(("service", "wire", "type_name"), NAMED)
def test_every_decoder_survives_broken_bytes(service: str, wire: WireTable, type_name: str) -> None:
    for value, headers, _, _ in (POISON | SQL_ONLY).values():
        others = [(name, said) for name, said in headers if name != "ce_type"]
        decoded(service, wire, type_name, value or b"", others)


@pytest.mark.parametrize(("service", "wire", "type_name"), NAMED)
@given(value=st.binary(max_size=200), ce_id=st.binary(max_size=40), at=st.binary(max_size=40))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_decoder_survives_any_bytes(
    service: str, wire: WireTable, type_name: str, value: bytes, ce_id: bytes, at: bytes
) -> None:
    decoded(service, wire, type_name, value, [("ce_id", ce_id), ("ce_recordedtime", at)])


@given(st.integers())
@example(EARLIEST)
@example(LATEST)
def test_a_time_from_the_wire_is_on_the_calendar_or_refused(number: int) -> None:
    try:
        assert instant_of(number) == number
    except ValueError:
        assert not EARLIEST <= number <= LATEST


def test_of_a_header_sent_twice_the_last_counts() -> None:
    record = MemoryRecord(
        "t", 0, 0, 0, None, b"", (("ce_id", b"1"), ("ce_id", b"2"), ("ce_type", b"a"), ("ce_type", b"b"))
    )  # fmt: skip
    assert (Message(record).id, Message(record).type) == ("2", "b")
    record = MemoryRecord("t", 0, 7, 0, None, b"", (("ce_id", b"1"), ("ce_id", b"")))
    assert Message(record).id == "t/0/7"  # the last says nothing


def test_ids_may_be_as_long_as_ingestion_lets_them() -> None:
    assert 255 * len("𝄞".encode()) <= LONGEST_ID
