"""Both implementations of blobs do the same."""

import pytest

from millrace_artifacts.blobs import ObjectBlobs
from millrace_artifacts.errors import ForeignUriError, StoreUnavailableError
from millrace_testkit.blob_suite import BlobSuite
from millrace_testkit.blobs import MemoryBlobs


class TestObjectBlobs(BlobSuite):
    @pytest.fixture
    def blobs(self, tmp_path):
        return ObjectBlobs(f"file://{tmp_path}/objects")

    @pytest.mark.parametrize(
        "key", ["", "/a", "a/", "a//b", "../a", "a/..", "a/./b", "a b", "a\\b"]
    )
    def test_a_key_leads_nowhere_else(self, blobs, key):
        for errand in (
            lambda: blobs.put(key, b"1"),
            lambda: blobs.get(key),
            lambda: blobs.list(key),
        ):
            with pytest.raises(ForeignUriError):
                errand()

    def test_nothing_is_made_before_it_is_used(self, tmp_path):
        ObjectBlobs(f"file://{tmp_path}/objects")
        assert not (tmp_path / "objects").exists()

    def test_a_store_that_is_away_is_a_passing_failure(self, blobs, tmp_path):
        blobs.put("a/b", b"1")
        (tmp_path / "objects" / "f").write_bytes(b"not a folder")
        with pytest.raises(StoreUnavailableError, match="f/b can't be written"):
            blobs.put("f/b", b"1")


class TestMemoryBlobs(BlobSuite):
    @pytest.fixture
    def blobs(self):
        return MemoryBlobs()
