"""A snapshot that is damaged, cut off, forged or of another layout is passed over for the one before."""

import hashlib
from dataclasses import replace

import pytest

from millrace_bus.snapshots import Manifest, SnapshotFile, Snapshots
from millrace_kernel.time import Instant
from millrace_testkit.blobs import MemoryBlobs

ROOT = "snapshots/cluster-1/features/millrace.events-3"


def files(blobs: MemoryBlobs) -> set[str]:
    return set(blobs.list(f"{ROOT}/files"))


DAMAGES = {
    "a file is gone": lambda content: None,
    "a file is cut": lambda content: content[:-1],
    "a file is longer": lambda content: content + b"x",
    "a bit is turned": lambda content: bytes([content[0] ^ 1]) + content[1:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("what", [".sst", "CURRENT", "MANIFEST", "manifest"])
def test_a_damaged_snapshot_is_passed_over_for_the_one_before(
    machine, blobs, restored, damage, what
):
    machine.write(1, a="1")
    machine.save()
    before = machine.content()
    machine.write(2, a="2")
    machine.save()
    first, newest = (f"{ROOT}/manifests/{position:020d}.json" for position in (1, 2))
    old = {file.sha256 for file in Manifest.from_json(blobs.content[first]).files}
    key = newest
    if what != "manifest":
        key = next(
            f"{ROOT}/files/{file.sha256}"
            for file in Manifest.from_json(blobs.content[newest]).files
            if what in file.name and (file.sha256 not in old or what == "CURRENT")
        )
    damaged = damage(blobs.content[key])
    if damaged is None:
        del blobs.content[key]
    else:
        blobs.content[key] = damaged
    result, bytes_there = restored()
    if what == "CURRENT":  # the same in both: then both are damaged
        assert result.position is None
        assert len(result.unusable) == 2
    else:
        assert result.position == 1
        assert bytes_there == before
        if not (what == "manifest" and damaged is None):
            assert f"{2:020d}" in result.unusable[0]


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"\xff",
        b"{" * 100_000,
        b'{"format": 2}',
        b'{"format": 1, "position": -1, "state": 1, "files": []}',
        b'{"format": 1, "position": 7, "state": 1, "files": []}',
        b'{"format": 1, "position": 8, "state": 1, "files": []}',
        b'{"format": 1, "position": 7, "state": 1, "files": [{"name": "../x", "size": 1, "sha256": "%s"}]}'
        % (b"0" * 64),
        b'{"format": 1, "position": 7, "state": 1, "files": [{"name": "x", "size": 1, "sha256": "../y"}]}',
    ],
)
def test_a_manifest_that_is_none_is_passed_over(machine, blobs, restored, manifest):
    machine.write(1, a="1")
    machine.save()
    blobs.content[f"{ROOT}/manifests/{7:020d}.json"] = manifest
    blobs.written[f"{ROOT}/manifests/{7:020d}.json"] = Instant(0)
    result, bytes_there = restored()
    assert (result.position, len(result.unusable)) == (1, 1)
    assert bytes_there == machine.content()
    machine.write(2, a="2")
    machine.save()  # and the next one is taken beside it


@pytest.mark.parametrize(
    ("said", "reason"),
    [(2, "its manifest is of position 2"), (7, "its state is of position 2")],
)
def test_a_snapshot_of_another_position_than_its_name_says_is_passed_over(
    machine, blobs, restored, said, reason
):
    """Going on from 7 with what was known at 2 would lose what lies between."""
    machine.write(2, a="2")
    machine.save()
    whole = Manifest.from_json(blobs.content[f"{ROOT}/manifests/{2:020d}.json"])
    blobs.put(f"{ROOT}/manifests/{7:020d}.json", replace(whole, position=said).to_json())

    result, bytes_there = restored()

    assert result.position == 2
    assert bytes_there == machine.content()
    assert reason in result.unusable[0]


def test_a_file_that_was_cut_in_the_store_is_sent_again_with_the_next_snapshot(
    machine, blobs, restored
):
    machine.write(1, a="1")
    machine.save()
    for key in files(blobs):
        blobs.content[key] = blobs.content[key][:-1]
    machine.write(2, b="2")
    machine.save()
    result, bytes_there = restored()
    assert result.position == 2
    assert bytes_there == machine.content()


def test_the_state_of_another_layout_is_not_restored(machine, blobs, restored):
    machine.write(1, a="1")
    machine.save()
    later = Snapshots("features", blobs, lambda: "cluster-1", state=2)
    result, _ = restored(later)
    assert result.position is None
    assert "version 1, this service reads 2" in result.unusable[0]


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "..", ".", "", "a/b", "a\x00b"])
def test_a_manifest_can_name_no_file_outside_of_the_folder(machine, blobs, restored, name):
    machine.write(1, a="1")
    machine.save()
    content = b"whatever it says"
    digest = hashlib.sha256(content).hexdigest()
    blobs.put(f"{ROOT}/files/{digest}", content)
    evil = Manifest(7, 1, (SnapshotFile(name, len(content), digest),))
    blobs.put(f"{ROOT}/manifests/{7:020d}.json", evil.to_json())
    result, _ = restored()
    assert result.position == 1
    assert "names no file of a state" in result.unusable[0]
