"""A snapshot gives the state back, byte for byte, whatever happened while it was written, or it is not taken."""

import pytest

from millrace_bus import snapshots as snapshots_module
from millrace_bus.broker import TopicPartition
from millrace_bus.snapshots import GRACE, Manifest, Snapshots, StoppedError
from millrace_kernel.errors import TransientError
from millrace_kernel.time import Instant
from millrace_testkit.blobs import MemoryBlobs

PLACE = TopicPartition("millrace.events", 3)
ROOT = "snapshots/cluster-1/features/millrace.events-3"


def files(blobs: MemoryBlobs) -> set[str]:
    return set(blobs.list(f"{ROOT}/files"))


def test_a_snapshot_gives_back_the_same_bytes_and_position(machine, restored):
    machine.write(5, a="1", b="2")
    machine.write(9, a="3", c="4")
    machine.save()
    result, bytes_there = restored()
    assert result.position == 9
    assert bytes_there == machine.content()
    assert bytes_there[b"sa"] == b"3"
    assert bytes_there[b"fsource"] == b"%016d" % 9


def test_a_checkpoint_is_of_one_moment_and_what_is_written_later_is_not_in_it(machine, restored):
    machine.write(5, a="1")
    before, checkpoint = machine.content(), machine.checkpoint()
    machine.write(6, a="2")
    machine.snapshots.save(PLACE, 5, checkpoint)
    assert restored()[1] == before


def test_only_new_files_are_sent(machine, blobs):
    machine.write(1, **{f"k{number}": "v" * 100 for number in range(1_000)})
    first = machine.save()
    already = files(blobs)
    blobs.puts.clear()
    machine.write(2, one="more")
    second = machine.save()
    sent = {key for key in blobs.puts if "/files/" in key}
    assert sent
    assert not sent & already
    assert second.files == len(sent) < first.files + 1
    assert second.size < first.size
    newest = Manifest.from_json(blobs.content[f"{ROOT}/manifests/{2:020d}.json"])
    data = {file.sha256 for file in newest.files if file.name.endswith(".sst")}
    assert {f"{ROOT}/files/{digest}" for digest in data} & already, "a file of the first is in both"


@pytest.mark.parametrize("sent", range(6))
def test_a_kill_while_a_snapshot_is_sent_leaves_the_former_in_force(machine, blobs, restored, sent):
    machine.write(1, a="1")
    machine.save()
    before = machine.content()
    machine.write(2, a="2")
    blobs.puts.clear()

    def die(errand: str, key: str) -> None:
        if errand == "put" and (len(blobs.puts) == sent or "/manifests/" in key):
            raise TransientError("killed")

    blobs.fault = die
    with pytest.raises(TransientError):
        machine.save()
    blobs.fault = lambda errand, key: None
    result, bytes_there = restored()
    assert (result.position, result.unusable) == (1, ())
    assert bytes_there == before
    machine.save()
    assert restored()[1] == machine.content(), "and the next one is whole"


def test_the_manifest_is_sent_when_all_files_are(machine, blobs):
    machine.write(1, a="1")
    machine.save()
    *files_first, last = blobs.puts
    assert "/manifests/" in last
    assert all("/files/" in key for key in files_first)


def test_one_that_is_told_to_stop_leaves_no_manifest(machine, blobs):
    machine.write(1, a="1")
    with pytest.raises(StoppedError):
        machine.save(stopped=lambda: bool(blobs.puts))
    assert len(blobs.puts) == 1
    assert machine.snapshots.positions(PLACE) == []


def test_the_newest_two_are_kept_and_files_that_none_names_go_after_a_while(machine, blobs):
    for position in range(1, 6):
        machine.write(position, **{f"k{position}": "v" * 1_000})
        machine.save()
    assert machine.snapshots.positions(PLACE) == [5, 4]
    named = {
        f"{ROOT}/files/{file.sha256}"
        for position in (4, 5)
        for file in Manifest.from_json(
            blobs.content[f"{ROOT}/manifests/{position:020d}.json"]
        ).files
    }
    assert files(blobs) > named, "they may belong to one that is being written"
    blobs.now = Instant(blobs.now + GRACE)
    machine.write(6, a="1")
    machine.save()
    kept = {
        f"{ROOT}/files/{file.sha256}"
        for position in (5, 6)
        for file in Manifest.from_json(
            blobs.content[f"{ROOT}/manifests/{position:020d}.json"]
        ).files
    }
    assert files(blobs) == kept


def test_a_zombie_that_saves_an_older_state_takes_nothing_away(machine, zombie, blobs, restored):
    machine.write(1, a="1")
    machine.save()
    zombie.write(1, a="1")
    for position in (10, 11):
        machine.write(position, a=str(position))
        machine.save()
        blobs.now = Instant(blobs.now + 2 * GRACE)
    for position in (2, 3, 4):
        zombie.write(position, a=str(position))
        zombie.save()
    result, bytes_there = restored()
    assert (result.position, result.unusable) == (11, ())
    assert bytes_there == machine.content()


def test_a_zombie_at_the_same_position_leaves_a_whole_snapshot(machine, zombie, blobs, restored):
    zombie.write(1, a="1")  # other files, the same state
    machine.write(1, a="1")
    machine.save()
    zombie.save()
    result, bytes_there = restored()
    assert (result.position, result.unusable) == (1, ())
    assert bytes_there == machine.content()


def test_a_zombie_that_is_further_harms_the_owner_behind_it_by_nothing(
    machine, zombie, blobs, restored
):
    for position in (100, 101):
        zombie.write(position, a="ahead")
        zombie.save()
    machine.write(5, a="5")
    machine.save()
    assert 5 in machine.snapshots.positions(PLACE), "its own newest is kept, whatever else there is"
    for key in list(blobs.content):
        if "/manifests/" in key and not key.endswith(f"{5:020d}.json"):
            del blobs.content[key]
    assert restored()[1] == machine.content()


def test_files_removed_while_a_snapshot_is_written_make_it_fail_and_the_next_one_whole(
    machine, blobs, restored
):
    machine.write(1, a="1")
    machine.save()
    machine.write(2, a="2")

    def thief(errand: str, key: str) -> None:
        if errand == "put" and key.endswith(f"{2:020d}.json"):
            for name in files(blobs):
                del blobs.content[name]

    blobs.fault = thief
    with pytest.raises(TransientError, match="removed while the snapshot at 2 was written"):
        machine.save()
    assert machine.snapshots.positions(PLACE) == [1]
    machine.write(3, a="3")
    machine.save()
    result, bytes_there = restored()
    assert result.position == 3
    assert bytes_there == machine.content()


def test_what_is_not_ahead_is_not_fetched(machine, blobs, restored):
    machine.write(7, a="1")
    machine.save()
    assert restored(above=7)[0].position is None
    assert restored(above=6)[0].position == 7


def test_clusters_services_and_partitions_have_their_own(machine, blobs):
    machine.write(1, a="1")
    machine.save()
    for other in (
        Snapshots("features", blobs, lambda: "cluster-2").positions(PLACE),
        Snapshots("serving", blobs, lambda: "cluster-1").positions(PLACE),
        machine.snapshots.positions(TopicPartition("millrace.events", 33)),
        machine.snapshots.positions(TopicPartition("millrace", 3)),
    ):
        assert other == []
    assert machine.snapshots.positions(PLACE) == [1]


def test_files_that_stay_are_read_once(machine, monkeypatch):
    read = []
    digest = snapshots_module._digest
    monkeypatch.setattr(
        snapshots_module, "_digest", lambda path: read.append(path.name) or digest(path)
    )
    machine.write(1, **{f"k{number}": "v" * 100 for number in range(1_000)})
    machine.save()
    tables = {name for name in read if name.endswith(".sst")}
    read.clear()
    machine.write(2, a="1")
    machine.save()
    assert tables
    assert not tables & set(read)
