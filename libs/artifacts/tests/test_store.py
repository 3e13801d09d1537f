import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from millrace_artifacts.errors import (
    DigestMismatchError,
    ForeignUriError,
    ObjectConflictError,
    ObjectMissingError,
    StoreUnavailableError,
)
from millrace_artifacts.store import ObjectStore, digest_key
from millrace_kernel.errors import PermanentError, TransientError


@pytest.fixture
def store(tmp_path):
    return ObjectStore((tmp_path / "some objects").as_uri())


def test_what_was_put_can_be_got_by_uri_and_digest(store):
    stored = store.put("models/bikes/one.zip", b"content")
    assert stored.uri == f"{store.url}/models/bikes/one.zip"
    assert (stored.sha256, stored.size) == (hashlib.sha256(b"content").hexdigest(), 7)
    assert store.get(stored.uri, stored.sha256) == b"content"
    assert store.get(stored.uri, None) == b"content"


def test_another_store_on_the_same_url_sees_the_object(store):
    stored = store.put("one", b"content")
    assert ObjectStore(store.url).get(stored.uri, stored.sha256) == b"content"


def test_the_same_content_may_be_put_again_and_other_content_may_not(store):
    assert store.put("one", b"content") == store.put("one", b"content")
    with pytest.raises(ObjectConflictError, match="one"):
        store.put("one", b"other")
    assert store.get(f"{store.url}/one", None) == b"content"


def test_of_writers_at_once_one_wins_and_the_object_is_whole(store):
    contents = [bytes([number]) * 200_000 for number in range(8)]

    def attempt(content):
        try:
            return store.put("one", content).sha256
        except ObjectConflictError:
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [digest for digest in pool.map(attempt, contents) if digest]
    assert len(winners) == 1
    assert store.get(f"{store.url}/one", winners[0]) in contents


def test_damaged_content_is_refused(store, tmp_path):
    stored = store.put("one", b"content")
    (tmp_path / "some objects" / "one").write_bytes(b"c0ntent")
    with pytest.raises(DigestMismatchError, match=stored.sha256) as refusal:
        store.get(stored.uri, stored.sha256)
    assert isinstance(refusal.value, PermanentError)


def test_a_missing_object_may_be_on_its_way(store):
    with pytest.raises(ObjectMissingError) as refusal:
        store.get(f"{store.url}/none", None)
    assert isinstance(refusal.value, TransientError)


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a b", "ä", "a\n"])
def test_keys_that_could_leave_the_store_or_name_two_things_are_refused(store, key):
    with pytest.raises(ForeignUriError):
        store.put(key, b"content")


def test_uris_of_other_stores_are_refused(store):
    for uri in ("s3://bucket/one", "one", store.url, f"{store.url}2/one", f"{store.url}/../one"):
        with pytest.raises(ForeignUriError):
            store.get(uri, None)


@pytest.mark.parametrize("url", ["objects", "", "file:///a?b", "https://a/b#c"])
def test_urls_that_are_no_store_are_refused(url):
    with pytest.raises(ForeignUriError):
        ObjectStore(url)


def test_a_store_that_cannot_be_opened_is_away_for_now(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailableError):
        ObjectStore((tmp_path / "file" / "objects").as_uri())


def test_a_relative_url_is_below_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored = ObjectStore("file://.millrace/objects").put("one", b"content")
    assert stored.uri == (tmp_path / ".millrace" / "objects" / "one").as_uri()


def test_a_digest_key_is_the_contents_own():
    assert digest_key("models", b"a", ".zip") == f"models/{hashlib.sha256(b'a').hexdigest()}.zip"
    assert digest_key("models", b"a", ".zip") != digest_key("models", b"b", ".zip")
