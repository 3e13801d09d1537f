"""The fence lets through what is newer, and one absurd sequence does not shut it."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace_bus.fence import (
    LONGEST_SEQUENCE,
    LONGEST_SOURCE,
    REJECTED,
    UncountableError,
    has_seen,
    note,
    sources_of,
)
from millrace_contracts.message import Message
from millrace_testkit.memory import MemoryRecord


def counted(sequence: bytes, source: bytes = b"s", **more: bytes) -> Message:
    headers = (("ce_source", source), ("ce_sequence", sequence), *more.items())
    return Message(MemoryRecord("millrace.events", 0, 9, 0, None, b"", headers))


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
