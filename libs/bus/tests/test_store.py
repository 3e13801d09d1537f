"""One partition's state on disk: copies of it, and who may have it open."""

from pathlib import Path

import pytest

from millrace_bus.store import Bytes, PartitionStore, StateInUseError, stored_position


def write(store: PartitionStore, position: int, *keys: str) -> None:
    state = store.state()
    for key in keys:
        state.put(key.encode(), f"{key} at {position}".encode())
    store.commit(position, {}, state)


def test_a_checkpoint_is_taken_while_commits_go_on_and_none_of_a_closed_store(tmp_path: Path):
    store = PartitionStore(tmp_path / "state", Bytes())
    assert store.checkpoint(tmp_path / "nothing yet") is None
    write(store, 3, "a")
    assert store.checkpoint(tmp_path / "at 3") == 3
    write(store, 4, "a")
    store.flush_soon()
    assert store.checkpoint(tmp_path / "at 4") == 4
    assert stored_position(tmp_path / "at 3") == 3
    store.close()
    store.close()
    store.flush_soon()
    assert store.checkpoint(tmp_path / "closed") is None


def test_a_folder_that_is_open_already_is_refused_in_words(tmp_path: Path):
    store = PartitionStore(tmp_path, Bytes())
    try:
        with pytest.raises(StateInUseError, match="is used by another process"):
            PartitionStore(tmp_path, Bytes())
    finally:
        store.close()
    PartitionStore(tmp_path, Bytes()).close()
