"""What both implementations of blobs must do. A test module inherits `BlobSuite` and gives a `blobs` fixture."""

from pathlib import Path

from millrace_bus.blobs import Blobs


def whole(blobs: Blobs, key: str) -> bytes | None:
    """The content under a key, or None."""
    parts = blobs.get(key)
    return None if parts is None else b"".join(parts)


class BlobSuite:
    """The port's contract."""

    def test_what_is_put_is_got(self, blobs: Blobs) -> None:
        blobs.put("a/b/one", b"content")
        assert whole(blobs, "a/b/one") == b"content"

    def test_what_was_there_is_replaced(self, blobs: Blobs) -> None:
        blobs.put("a/b", b"a longer content")
        blobs.put("a/b", b"new")
        assert whole(blobs, "a/b") == b"new"

    def test_a_file_of_many_parts_arrives_whole(self, blobs: Blobs, tmp_path: Path) -> None:
        content = bytes(range(256)) * (50 << 10)
        (tmp_path / "file").write_bytes(content)
        blobs.put("a/large", tmp_path / "file")
        assert whole(blobs, "a/large") == content
        assert blobs.list("a")["a/large"][0] == len(content)

    def test_an_empty_file_is_there(self, blobs: Blobs, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        blobs.put("a/empty", tmp_path / "file")
        assert whole(blobs, "a/empty") == b""
        assert blobs.list("a")["a/empty"][0] == 0

    def test_what_is_not_there_is_none(self, blobs: Blobs) -> None:
        assert blobs.get("a/nothing") is None
        assert not blobs.list("a")

    def test_a_folder_is_listed_deep_and_its_neighbours_are_not(self, blobs: Blobs) -> None:
        for key in ("a/b/c", "a/b/d/e", "a/bb/c", "b"):
            blobs.put(key, b"xyz")
        listed = blobs.list("a/b")
        assert set(listed) == {"a/b/c", "a/b/d/e"}
        assert {size for size, _ in listed.values()} == {3}

    def test_what_is_written_later_is_not_older(self, blobs: Blobs) -> None:
        blobs.put("a/first", b"1")
        blobs.put("a/second", b"2")
        listed = blobs.list("a")
        assert listed["a/first"][1] <= listed["a/second"][1]

    def test_what_is_deleted_is_gone_and_deleting_it_again_is_fine(self, blobs: Blobs) -> None:
        blobs.put("a/b", b"1")
        blobs.put("a/c", b"1")
        blobs.delete(["a/b", "a/none"])
        blobs.delete(["a/b"])
        assert set(blobs.list("a")) == {"a/c"}

    def test_names_of_topics_and_clusters_are_keys(self, blobs: Blobs) -> None:
        key = "s/-lkc_AbC/.hidden_topic-3/00000.json"
        blobs.put(key, b"1")
        assert set(blobs.list("s/-lkc_AbC/.hidden_topic-3")) == {key}
