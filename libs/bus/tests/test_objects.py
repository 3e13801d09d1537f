"""What a store keeps decoded is bounded by bytes, and never anything but what was put last."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_bus import store
from millrace_bus.objects import ABSENT, Objects, Room
from millrace_bus.store import Bytes, PartitionStore

_OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "forget", "room"]),
        st.integers(min_value=0, max_value=9).map(lambda n: b"%d" % n),
        st.integers(min_value=0, max_value=2_000),
    ),
    max_size=100,
)


@given(_OPERATIONS)
def test_it_is_a_dict_that_forgets_and_its_bytes_are_those_of_what_it_holds(
    operations: list[tuple[str, bytes, int]],
) -> None:
    objects, model = Objects(Room(10_000)), dict[bytes, int]()
    for operation, key, size in operations:
        if operation == "put":
            objects.put(key, size, size)
            model[key] = size
        elif operation == "forget":
            objects.forget(key)
            model.pop(key, None)
        else:
            objects.make_room()
            assert objects.bytes <= 10_000
        for known, value in model.items():
            assert objects.get(known, ABSENT) in (value, ABSENT)

    for key in [key for key in model if objects.get(key) is not None]:
        objects.forget(key)
    assert (objects.bytes, len(objects)) == (0, 0)


def test_the_oldest_go_first_and_what_is_put_again_is_new() -> None:
    objects = Objects(Room(10_000))
    for number in range(10):
        objects.put(b"%d" % number, number, 200)  # 1,201 bytes each
    objects.put(b"0", 0, 200)
    objects.make_room()

    assert [n for n in range(10) if objects.get(b"%d" % n) is not None] == [0, 5, 6, 7, 8, 9]


def test_large_objects_are_fewer() -> None:
    small, large = Objects(Room(1_000_000)), Objects(Room(1_000_000))
    for number in range(5_000):
        small.put(b"%d" % number, number, 10)
        large.put(b"%d" % number, number, 10_000)
        small.make_room()
        large.make_room()

    assert len(large) < 25 < 1_000 < len(small)


def test_stores_share_the_room_of_their_process() -> None:
    room = Room(100_000)
    objects = [Objects(room) for _ in range(4)]
    for each in objects:
        for number in range(500):
            each.put(b"%d" % number, number, 100)
        each.make_room()

    assert sum(each.bytes for each in objects) <= 100_000
    objects[0].close()
    assert room.share == 100_000 // 3


@pytest.fixture
def small_room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    room = Room(50_000)
    monkeypatch.setattr(store, "PROCESS", room)
    yield room
    assert room.sharers == 0


def test_a_store_keeps_no_more_in_memory_than_there_is_room_for_and_has_it_all(
    small_room: Room, tmp_path: Path
) -> None:
    opened = PartitionStore(tmp_path / "state", Bytes())
    expected: dict[bytes, Any] = {}
    for position in range(1, 40):
        state = opened.state()
        for number in range(5):
            key = b"%d" % (position * 3 + number)
            expected[key] = bytes([position]) * 1_000
            state.put(key, expected[key])
        opened.commit(position, {}, state)
        assert opened.objects.bytes <= small_room.most_bytes + 5 * 5_000
    reading = opened.state()
    found = {key: reading.get(key) for key in expected}
    opened.commit(40, {}, opened.state())

    assert found == expected
    assert opened.objects.bytes <= small_room.most_bytes
    opened.close()


def test_what_is_deleted_is_not_remembered(small_room: Room, tmp_path: Path) -> None:
    opened = PartitionStore(tmp_path / "state", Bytes())
    state = opened.state()
    state.put(b"key", b"value")
    opened.commit(1, {}, state)
    state = opened.state()
    state.delete(b"key")
    opened.commit(2, {}, state)

    assert opened.state().get(b"key") is None
    opened.close()
