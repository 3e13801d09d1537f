"""The Faust runtime on plain values: rows, the order of a partition, and kills at any point of a step."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_bus.broker import TopicPartition
from millrace_contracts.message import Outgoing
from millrace_features.adapters.faust_runtime.lane import Lane, Reader
from millrace_features.adapters.faust_runtime.rows import (
    POSITION_KEY,
    Row,
    decode_position,
    decode_row,
    encode_position,
    encode_row,
    merged,
)
from millrace_kernel.errors import TransientError
from millrace_telemetry.tracing import NO_TRACING
from millrace_testkit.counting import POISON, WIRE, Counting, PairCodec, seen_record
from millrace_testkit.memory import MemoryRecord

PLACE = TopicPartition("millrace.events", 0)
OFFSETS = st.integers(-1, 2**62)
ROWS = st.builds(
    Row, OFFSETS, st.dictionaries(st.binary(), st.binary(), max_size=4), st.none() | st.binary()
)


@given(row=ROWS)
def test_a_row_is_read_as_it_was_written(row):
    assert decode_row(encode_row(row)) == row


@given(one=ROWS, other=ROWS)
def test_of_two_rows_the_one_that_has_applied_more_counts_whichever_comes_last(one, other):
    newest = max(one.applied, other.applied)
    for first, second in ((one, other), (other, one)):
        kept = decode_row(merged(b"key", encode_row(first), encode_row(second)))
        assert kept.applied == newest


def test_another_format_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"format 07.*build it again"):
        decode_row(b"\x07" + bytes(20))


@dataclass
class Delivered:
    """A record as Faust hands it out."""

    record: MemoryRecord
    acked: bool = False

    def ack(self) -> None:
        self.acked = True


def delivered(offset: int, sent: Outgoing) -> Delivered:
    return Delivered(MemoryRecord(*PLACE, offset, 1_000, sent.key, sent.value, tuple(sent.headers)))


def records_of(entities: str) -> list[Outgoing]:
    """A message for each letter: `!` is one that can't be handled, a digit repeats the last so many.

    The writer of what is for `A` and `B` does not count, so that no fence recognises them.
    """
    records: list[Outgoing] = []
    sequence = 0
    for letter in entities:
        if letter.isdigit():
            records += records[-int(letter) :]
            continue
        sequence += 1
        entity = POISON if letter == "!" else letter
        record = seen_record(sequence, entity, source="ingestion", sequence=sequence)
        if letter.isupper():
            record.headers = [header for header in record.headers if header[0] != "ce_sequence"]
        records.append(record)
    return records


def reader_of(heart: Counting | None = None) -> Reader:
    handle = (heart or Counting()).handle
    return Reader(
        "features", WIRE, handle, lambda message: message.event.entity.encode(), PairCodec(), NO_TRACING
    )  # fmt: skip


@dataclass
class World:
    """What outlives a process: the topic, the changelog, and what was published."""

    records: list[Outgoing]
    changelog: list[tuple[bytes, bytes]] = field(default_factory=list)
    published: list[Outgoing] = field(default_factory=list)

    def restored(self) -> dict[bytes, bytes]:
        """The table as a new machine finds it."""
        table: dict[bytes, bytes] = {}
        for key, value in self.changelog:
            table[key] = merged(key, table.get(key), value)
        return table

    def lane(self, table: dict[bytes, bytes]) -> Lane:
        position = table.get(POSITION_KEY)
        start = 0 if position is None else decode_position(position)
        lane = Lane(PLACE, start, table.get, reader_of())
        for offset in range(start, len(self.records)):
            assert lane.admit(delivered(offset, self.records[offset]))
        return lane

    def step(self, lane: Lane, table: dict[bytes, bytes], size: int, writes: int | None) -> None:
        """One step; killed after so many writes to features and changelog, None: not at all."""
        if not lane.waiting:
            return
        step = lane.handle(size)
        rows = [*step.encoded(PairCodec()).items(), (POSITION_KEY, encode_position(step.position))]
        room = len(step.outgoing) + len(rows) if writes is None else writes
        self.published += step.outgoing[:room]
        kept = rows[: max(0, room - len(step.outgoing))]
        self.changelog += kept
        if writes is None:
            table.update(kept)
            lane.commit(step)

    def read(self) -> list[tuple[bytes | None, bytes | None, dict[str, bytes]]]:
        """What a reader sees: vectors by the fence, dead letters by where they came from."""
        newest, seen = b"", []
        for message in self.published:
            headers = {name: value for name, value in message.headers if "stacktrace" not in name}
            said = (message.key, message.value, headers)
            if message.topic.endswith(".dlq"):
                if said not in seen:
                    seen.append(said)
            elif headers["ce_sequence"] > newest:
                newest = headers["ce_sequence"]
                seen.append(said)
        return sorted(seen, key=lambda said: (said[2].get("ce_sequence", b""), said[1]))


ENTITIES = st.text("abAB!23", min_size=1, max_size=40)
# how large a step is, after how many writes it is killed, and whether the folder is there afterwards
LIVES = st.lists(
    st.tuples(st.integers(1, 9), st.none() | st.integers(0, 20), st.booleans()), max_size=25
)


def finish(world: World, table: dict[bytes, bytes]) -> None:
    lane = world.lane(table)
    while lane.waiting:
        world.step(lane, table, 7, None)


def undisturbed(records: list[Outgoing]) -> World:
    world = World(records)
    finish(world, {})
    return world


@settings(deadline=None)  # the machine may be busy
@given(entities=ENTITIES, lives=LIVES)
def test_kills_at_any_write_change_neither_what_is_read_nor_what_is_remembered(entities, lives):
    records = records_of(entities)
    world, table = World(records), {}
    lane = world.lane(table)
    for size, writes, keeps_its_folder in lives:
        world.step(lane, table, size, writes)
        if writes is not None:
            table = (table if keeps_its_folder else {}) | world.restored()
            lane = world.lane(table)
    finish(world, world.restored())

    calm = undisturbed(records)
    assert world.read() == calm.read()
    assert world.restored() == calm.restored()


@settings(deadline=None)
@given(
    entities=ENTITIES, stalled=st.integers(1, 9), ahead=st.integers(1, 30), late=st.integers(0, 20)
)
def test_what_an_instance_writes_after_it_lost_the_partition_changes_nothing(
    entities, stalled, ahead, late
):
    records = records_of(entities)
    world, table = World(records), {}
    zombie, zombies_table = world.lane({}), {}
    lane = world.lane(table)
    world.step(lane, table, ahead, None)
    world.step(zombie, zombies_table, stalled, late)
    finish(world, world.restored())

    calm = undisturbed(records)
    assert world.read() == calm.read()
    assert world.restored() == calm.restored()


def test_a_passing_failure_leaves_everything_waiting_in_order():
    heart = Counting()
    heart.blocked.add("b")
    lane = Lane(PLACE, 0, {}.get, reader_of(heart))
    arrived = [delivered(offset, sent) for offset, sent in enumerate(records_of("aab"))]
    for one in arrived:
        lane.admit(one)
    with pytest.raises(TransientError):
        lane.handle(10)
    assert [one.record.offset for one in lane.waiting] == [0, 1, 2]

    heart.blocked.clear()
    step = lane.handle(10)
    lane.commit(step)

    assert [dict(message.headers)["ce_sequence"][:16] for message in step.outgoing] == [
        b"%016d" % offset for offset in range(3)
    ]
    assert all(one.acked for one in arrived)
    assert not lane.waiting


def test_what_comes_too_early_is_not_taken_and_what_comes_again_is_dropped():
    lane = Lane(PLACE, 3, {}.get, reader_of())
    arrivals = {offset: delivered(offset, sent) for offset, sent in enumerate(records_of("a" * 12))}

    assert lane.admit(arrivals[1])
    assert arrivals[1].acked  # applied before the restart
    assert not lane.admit(arrivals[5])
    assert not lane.admit(arrivals[6])
    assert lane.wanted == 3
    assert lane.admit(arrivals[3])
    assert lane.admit(arrivals[3])
    lane.skip_to(7)  # the topic has no 4 to 6 any more
    assert lane.admit(arrivals[7])
    assert [one.record.offset for one in lane.waiting] == [3, 7]
    assert not any(arrivals[offset].acked for offset in range(3, 9))


def test_what_is_sent_twice_counts_once():
    world = undisturbed(records_of("ab3ba1!1"))

    states = {key: decode_row(row) for key, row in world.restored().items() if key != POSITION_KEY}
    assert {key: row.state and PairCodec().decode(row.state)[0] for key, row in states.items()} == {
        b"a": 2,
        b"b": 2,
        POISON.encode(): None,
    }
    assert len(world.published) == 5


def test_a_message_may_touch_the_state_of_its_own_entity_only():
    def handle(message, state):
        state.put(b"another", (1, 1.0))
        return ()

    reader = Reader("features", WIRE, handle, lambda message: b"own", PairCodec(), NO_TRACING)
    lane = Lane(PLACE, 0, {}.get, reader)
    lane.admit(delivered(0, records_of("a")[0]))
    with pytest.raises(ValueError, match="its own entity only"):
        lane.handle(1)
