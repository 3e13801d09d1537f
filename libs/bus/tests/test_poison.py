"""Poison of every kind: a dead letter with a reason in words, or a reading that is written down; never a crash or a stop.

Three places: the readers of the bus (both forms), the wire table of every service, and the fence, which one absurd
sequence must not shut. What users send raw is in `services/ingestion/tests/unit/test_poison.py`.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, MetaData, String, Table, select

from millrace.wire import event_classes
from millrace_bus import tables
from millrace_bus.fence import (
    LONGEST_SEQUENCE,
    LONGEST_SOURCE,
    REJECTED,
    UncountableError,
    has_seen,
    note,
    sources_of,
)
from millrace_bus.retry import Backoff
from millrace_bus.sql import Database
from millrace_bus.sql_worker import SqlSettings, SqlWorker
from millrace_bus.stream import StreamSettings, StreamWorker, each
from millrace_bus.topology import ensure_topics
from millrace_bus.unit import inject
from millrace_contracts.message import Message, Outgoing
from millrace_contracts.wire import LONGEST_ID, WireTable, instant_of, refuse_untimely
from millrace_kernel.errors import PermanentError
from millrace_kernel.time import EARLIEST, LATEST
from millrace_proto.v1.events_pb2 import EventAccepted
from millrace_testkit.counting import (
    WIRE,
    Counted,
    Counting,
    PairCodec,
    Seen,
    decode_counted,
    seen_record,
)
from millrace_testkit.eventually import eventually, running
from millrace_testkit.memory import MemoryBroker, MemoryRecord

EVENTS, DLQ = "millrace.events", "millrace.events.dlq"
INT64 = 2**63
DEEP = 1_000_000
MEGABYTE = b"x" * 1_000_000

Headers = list[tuple[str, bytes]]


def given_headers(**changes: bytes | None) -> Headers:
    """Those of the event in the middle, with some replaced (or, by None, left out)."""
    known = {name.replace("-", "_"): (name, value) for name, value in seen_record(5, "mid").headers}
    for name, value in changes.items():
        known.pop(name, None)
        if value is not None:
            known[name] = (name, value)
    return list(known.values())


# a name: (value, headers, key, whether it is a dead letter, what its reason says)
BROKEN = "does not decode as millrace.v1.EventAccepted"
VALUE = seen_record(5, "mid").value or b""
KEY = b"counting/mid"
POISON: Mapping[str, tuple[bytes | None, Headers, bytes | None, str | None]] = {
    "truncated protobuf": (VALUE[:-3], given_headers(), KEY, BROKEN),
    "another type's protobuf": (b"\x08\x96\x01\x12\x04test", given_headers(), KEY, BROKEN),
    "no protobuf": (b"\xff" * 40, given_headers(), KEY, BROKEN),
    "groups a million deep": (b"\x0b" * DEEP, given_headers(), KEY, BROKEN),
    "messages a million deep": (b"\x0a\x7f" * DEEP, given_headers(), KEY, BROKEN),
    "invalid utf-8 in a text": (b"\x0a\x02\xff\xfe", given_headers(), KEY, BROKEN),
    "a length beyond the end": (b"\x0a\xff\xff\xff\xff\x07", given_headers(), KEY, BROKEN),
    "a length beyond all ends": (b"\x0a" + b"\xff" * 9 + b"\x01", given_headers(), KEY, BROKEN),
    "JSON": (b'{"event_id": "e5"}', given_headers(), KEY, BROKEN),
    "no value at all": (b"", given_headers(), KEY, BROKEN),
    "10 MB of zeros": (bytes(10_000_000), given_headers(), KEY, BROKEN),
    "a source of 1 MB": (VALUE, given_headers(ce_source=MEGABYTE), KEY, "ce_source"),
    "a source that is no text": (VALUE, given_headers(ce_source=b"\xff\x00"), KEY, "ce_source"),
    "a source of the bus's own": (VALUE, given_headers(ce_source=note(3)), KEY, "ce_source"),
    "an empty sequence": (VALUE, given_headers(ce_sequence=b""), KEY, "ce_sequence"),
    "a sequence of words": (VALUE, given_headers(ce_sequence=b"zzzz"), KEY, "ce_sequence"),
    "a sequence too long": (VALUE, given_headers(ce_sequence=b"9" * 10_000), KEY, "ce_sequence"),
    "all nines": (VALUE, given_headers(ce_sequence=b"9" * 16 + b".99999"), KEY, "leaps too far"),
    "microseconds": (
        VALUE,
        given_headers(ce_sequence=b"1763705000000000.00000"),
        KEY,
        "leaps too far",
    ),
    "a bare number": (VALUE, given_headers(ce_sequence=b"9"), KEY, "not as wide"),
    "a negative sequence": (VALUE, given_headers(ce_sequence=b"-000000000000001.0"), KEY, "digits"),
    "digits of another script": (
        VALUE,
        given_headers(ce_sequence="٩٩".encode()),
        KEY,
        "ce_sequence",
    ),
    "an id of 1 MB": (VALUE, given_headers(ce_id=MEGABYTE), KEY, "ce_id"),
    "a correlation of 1 MB": (VALUE, given_headers(ce_correlationid=MEGABYTE), KEY, "ce_corr"),
    "a recorded time of 1 MB": (VALUE, given_headers(ce_recordedtime=MEGABYTE), KEY, "ce_recorded"),
    # read all the same, as docs/dead-letters.md says
    "no key": (VALUE, given_headers(), None, None),
    "a key that is no text": (VALUE, given_headers(), b"\xff\x00\xfe", None),
    "a key of 1 MB": (VALUE, given_headers(), MEGABYTE, None),
    "no id": (VALUE, given_headers(ce_id=None), KEY, None),
    "an id that is no text": (VALUE, given_headers(ce_id=b"\xff\xfe"), KEY, None),
    "no source": (VALUE, given_headers(ce_source=None), KEY, None),
    "no sequence": (VALUE, given_headers(ce_sequence=None), KEY, None),
    "no recorded time": (VALUE, given_headers(ce_recordedtime=None), KEY, None),
    "a trace that is none": (VALUE, given_headers(traceparent=b"\xff" * 9_000), KEY, None),
    "an id twice": (VALUE, [("ce_id", b"other"), *given_headers()], KEY, None),
    "ten thousand headers": (
        VALUE,
        [*((f"h{n}", b"x") for n in range(10_000)), *given_headers()],
        KEY,
        None,
    ),
    "a content type that is none": (VALUE, given_headers(content_type=b"\xff"), KEY, None),
    "said to be compressed": (VALUE, [*given_headers(), ("content-encoding", b"gzip")], KEY, None),
    "unknown fields": (VALUE + b"\xfa\x7f\x03abc", given_headers(), KEY, None),
    # for nobody here: skipped
    "a type of nobody's": (VALUE, given_headers(ce_type=b"millrace.v9.Unknown"), KEY, ""),
    "no type": (VALUE, given_headers(ce_type=None), KEY, ""),
    "a type of 1 MB": (VALUE, given_headers(ce_type=MEGABYTE), KEY, ""),
    "for nobody, nor countable": (VALUE, given_headers(ce_type=b"x", ce_sequence=b"z"), KEY, ""),
}
SQL_ONLY: Mapping[str, tuple[bytes | None, Headers, bytes | None, str | None]] = {
    # the stream form hands the header on unread; whoever needs to know the time refuses it
    f"recorded {when.decode(errors='replace')}": (
        VALUE,
        given_headers(ce_recordedtime=when),
        KEY,
        "ce_recordedtime",
    )
    for when in (
        b"yesterday",
        b"\xff",
        b"0000-01-01T00:00:00Z",
        b"0001-01-01T00:00:00Z",
        b"1969-12-31T23:59:59Z",
        b"10000-01-01T00:00:00Z",
        b"9999-12-31T23:59:59.999999-14:00",
        b"2026-12-31T23:59:60Z",
        b"-1",
    )
}

NOTES = MetaData()
NOTED = Table("noted", NOTES, Column("entity", String(20), primary_key=True))


class SqlNoted:
    """A table with room for twenty characters; what it was given is written at the end, as repositories do."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._entities: set[str] = set()

    def put(self, entity: str) -> None:
        self._entities.add(entity)

    def flush(self) -> None:
        known = set(self._connection.scalars(select(NOTED.c.entity)))
        rows = [{"entity": entity} for entity in sorted(self._entities - known)]
        if rows:
            self._connection.execute(NOTED.insert(), rows)


def stream(broker: MemoryBroker, folder: Path) -> StreamWorker:
    return StreamWorker(
        "features",
        [EVENTS],
        wire=WIRE,
        process=each(Counting().handle),
        codec=PairCodec(),
        broker=broker,
        settings=StreamSettings(folder, poll_seconds=0.02, backoff=Backoff(0.001, 0.01)),
        chance=lambda: 0.5,
    )


def sql(broker: MemoryBroker, database: Database) -> SqlWorker:
    def on_seen(event: Seen, noted: SqlNoted) -> Iterator[Counted]:
        noted.put(event.entity)
        yield Counted(event.event_id, event.entity, 1, event.number)

    return SqlWorker(
        "features",
        [EVENTS],
        wire=WIRE,
        handlers={Seen: inject(on_seen, noted=SqlNoted)},
        database=database,
        broker=broker,
        chance=lambda: 0.5,
        settings=SqlSettings(poll_seconds=0.02, backoff=Backoff(0.001, 0.01)),
    )


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.db)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").create_database()
    database = Database(url)
    with database.transaction() as connection:
        tables.METADATA.create_all(connection)
        NOTES.create_all(connection)
    yield database
    database.close()


async def outcome(
    poison: tuple[bytes | None, Headers, bytes | None],
    worker: Callable[[MemoryBroker], StreamWorker | SqlWorker],
) -> tuple[list[str], list[str]]:
    """One poisonous message between two that are well: which events were answered, and why which letters died."""
    value, headers, key = poison
    broker = MemoryBroker()
    await ensure_topics(broker)
    middle = Outgoing(EVENTS, key, value, headers, 1_000)
    await broker.producer().send(EVENTS, 0, [seen_record(4, "a"), middle, seen_record(6, "b")])
    async with running(worker(broker)):
        await eventually(
            lambda: any(b"e6" in (r.value or b"") for r in broker.records("millrace.features"))
        )
    answered = sorted(
        decode_counted(record.value or b"").event_id
        for record in broker.records("millrace.features")
    )
    letters = broker.records(DLQ)
    assert all((record.key, record.value) == (key, value) for record in letters)
    reasons = [dict(r.headers)["__connect.errors.exception.message"].decode() for r in letters]
    assert all(len(reason) <= 4_000 for reason in reasons)
    return answered, reasons


def judge(answered: list[str], reasons: list[str], expected: str | None) -> None:
    if expected is None:
        assert (answered, reasons) == (["e4", "e5", "e6"], [])
    elif expected == "":
        assert (answered, reasons) == (["e4", "e6"], [])
    else:
        assert answered == ["e4", "e6"]
        [reason] = reasons
        assert expected in reason


@pytest.mark.parametrize("name", POISON)
async def test_a_stream_goes_on_past_poison(name: str, tmp_path: Path) -> None:
    *poison, expected = POISON[name]
    answered, reasons = await outcome(tuple(poison), lambda broker: stream(broker, tmp_path))  # type: ignore[arg-type]
    judge(answered, reasons, expected)


@pytest.mark.parametrize("name", [*POISON, *SQL_ONLY])
async def test_a_database_reader_goes_on_past_poison(name: str, database: Database) -> None:
    *poison, expected = (POISON | SQL_ONLY)[name]
    answered, reasons = await outcome(tuple(poison), lambda broker: sql(broker, database))  # type: ignore[arg-type]
    judge(answered, reasons, expected)


async def test_a_tombstone_where_none_belongs_says_nothing_to_a_database_reader(
    database: Database,
) -> None:
    answered, reasons = await outcome(
        (None, given_headers(), KEY), lambda broker: sql(broker, database)
    )
    judge(answered, reasons, "")


async def test_a_tombstone_where_none_belongs_dies_in_a_stream(tmp_path: Path) -> None:
    answered, reasons = await outcome(
        (None, given_headers(), KEY), lambda broker: stream(broker, tmp_path)
    )
    judge(answered, reasons, BROKEN)


@pytest.mark.parametrize("entity", ["nul\0nul", "too long for its column" * 9])
@pytest.mark.db
async def test_what_the_database_refuses_is_a_dead_letter(
    entity: str, postgres: Any, tmp_path: Path
) -> None:
    database = Database(postgres.create_database())
    with database.transaction() as connection:
        tables.METADATA.create_all(connection)
        NOTES.create_all(connection)
    value = EventAccepted(event_id="e5", entity=entity, numbers=[1.0]).SerializeToString()
    try:
        answered, reasons = await outcome(
            (value, given_headers(), KEY), lambda broker: sql(broker, database)
        )
    finally:
        database.close()
    judge(answered, reasons, "the database refuses")


# the fence ---------------------------------------------------------------------------------------------------------


def counted(sequence: bytes, source: bytes = b"s", **more: bytes) -> Message:
    headers = (("ce_source", source), ("ce_sequence", sequence), *more.items())
    return Message(MemoryRecord(EVENTS, 0, 9, 0, None, b"", headers))


@given(st.binary(max_size=80), st.binary(max_size=30))
@example(b"9999999999999999.99999", b"s")
@example(b"0001000000000001.00000", b"s")
@example(b"0000000000000000.\xff0000", b"s")
@example(b"0000000000000008.ZZZZZ", b"s")
@settings(max_examples=400)
def test_no_sequence_whatever_shuts_out_what_a_source_sends_for_long(
    sequence: bytes, source: bytes
) -> None:
    """Whatever comes, the fence of a source moves by a ten-thousandth of its range at most, or not at all."""
    fences: dict[bytes, bytes] = {}
    assert not has_seen(counted(b"0000000000000007.00000", source=b"s"), {}, fences)
    reason = ""
    try:
        has_seen(counted(sequence, source), fences, fences)
    except UncountableError as error:
        reason = str(error)
    assert len(reason) < 1_000
    if reason:
        assert fences == {b"s": b"0000000000000007.00000"}
    assert 7 <= int(fences[b"s"][:16]) <= 7 + 10**12
    assert not has_seen(counted(b"0001000000000007.zzzzz"), fences, fences)


@given(st.binary(max_size=600), st.binary(max_size=80))
@settings(max_examples=300)
def test_whatever_is_counted_has_room_in_every_database(source: bytes, sequence: bytes) -> None:
    fences: dict[bytes, bytes] = {}
    message = counted(sequence, source)
    try:
        has_seen(message, {}, fences)
    except UncountableError:
        assert not fences
    for name, newest in fences.items():
        assert len(name.decode("ascii")) <= LONGEST_SOURCE
        assert len(newest.decode("ascii")) <= LONGEST_SEQUENCE
        assert "\0" not in name.decode() + newest.decode()
        assert sources_of([message]) == {name.decode()}


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 99_999)), max_size=30))
def test_the_fence_lets_through_exactly_what_is_newer(numbers: list[tuple[int, int]]) -> None:
    fences: dict[bytes, bytes] = {}
    newest = (-1, -1)
    for number in numbers:
        seen = has_seen(counted(b"%016d.%05d" % number), {}, fences)
        assert seen == (number <= newest)
        newest = max(number, newest)


@pytest.mark.parametrize(
    "sequences",
    [
        (b"0000000000000001.1-started.00000", b"0000000000000001.2-ended.00000"),  # a run
        (b"0001763705000000000.00000", b"0001763705060000000.00000"),  # a timer
        (b"0001999999999999999.00000", b"0002000000000000000.00000"),  # the same, in 2033
        (b"0000000001.00000", b"0000000002.00000"),  # a pipeline's file
        (b"0000999999999999.99999", b"0001000000000000.00000"),
    ],
)
def test_sequences_of_every_source_there_is_count(sequences: tuple[bytes, bytes]) -> None:
    fences: dict[bytes, bytes] = {}
    assert [has_seen(counted(each), {}, fences) for each in sequences] == [False, False]
    assert has_seen(counted(sequences[0]), {}, fences)


@given(st.binary(max_size=60))
def test_a_replay_counts_only_where_the_reader_noted_the_rejection(said: bytes) -> None:
    noted = {note(4): REJECTED}
    fences: dict[bytes, bytes] = {}
    message = counted(b"z", **{"millrace-replay-of": said})
    assert has_seen(message, noted, fences) == (said.lstrip() != b"millrace.events/0/4")


# the wire tables of every service ------------------------------------------------------------------------------------

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
JSON_BYTES = (b"", b"[" * DEEP, b'{"columns":' * DEEP, b"\xff", b"9" * 5_000, b"NaN", b"null", b"{}",
    b'{"columns": [], "prediction": {}, "metrics": [], "primary_metric": 1, "rows": 1e999}')  # fmt: skip


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
