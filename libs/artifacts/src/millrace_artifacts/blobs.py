"""Blobs: bytes under keys of one's own choosing in the object store, which may be replaced and removed.

`millrace_artifacts.store` keeps what is announced by digest and never changes; this is for what one service keeps for
itself (snapshots of its state). It is an implementation of the port `millrace_bus.blobs.Blobs`.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from millrace_artifacts.errors import ForeignUriError, StoreUnavailableError
from millrace_kernel.time import Instant, instant

if TYPE_CHECKING:
    from obstore import GetResult  # there at type checking only

# Topics and clusters have names that begin with a dot or a dash, but no segment may be "." or ".."
_KEY = re.compile(r"(?!\.{1,2}(/|$))[A-Za-z0-9._=-]+(/(?!\.{1,2}(/|$))[A-Za-z0-9._=-]+)*")
_MISSING = (NotFoundError, FileNotFoundError)
_AWAY = (BaseError, OSError)
_AT_ONCE = 1_000
_PART_BYTES = 4 << 20
# Whoever uses it tries again later by himself, and a service that stops waits for what is under way
_REMOTE: dict[str, Any] = {
    "client_options": {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=30)},
    "retry_config": {"max_retries": 2, "retry_timeout": timedelta(seconds=15)},
}


class ObjectBlobs:
    """Blobs below one URL: `file:///path` (made when missing) or whatever else obstore understands (`s3://bucket/prefix`).

    Nothing is opened before the first call. Synchronous and safe to share between threads. Every call may raise
    StoreUnavailableError; ForeignUriError for a key that is not letters, digits and `._=-` between single slashes.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def put(self, key: str, content: bytes | Path) -> None:
        """Write bytes, or the content of a file: all of it or nothing; what was there is replaced."""
        _check(key)
        try:
            obstore.put(self._store, key, content, chunk_size=_PART_BYTES, max_concurrency=2)
        except _AWAY as error:
            raise self._away(key, "written", error) from error

    def get(self, key: str) -> Iterator[bytes] | None:
        """The content in parts; None when there is none."""
        _check(key)
        try:
            found = obstore.get(self._store, key)
        except _MISSING:
            return None
        except _AWAY as error:
            raise self._away(key, "read", error) from error
        return self._parts(key, found)

    def _parts(self, key: str, found: "GetResult") -> Iterator[bytes]:
        try:
            for part in found.stream(min_chunk_size=_PART_BYTES):
                yield bytes(part)
        except _AWAY as error:
            raise self._away(key, "read", error) from error

    def list(self, folder: str) -> Mapping[str, tuple[int, Instant]]:
        """All keys below a folder, with their size in bytes and when they were written, by the store's own clock."""
        _check(folder)
        try:
            return {
                entry["path"]: (entry["size"], instant(entry["last_modified"]))
                for page in obstore.list(self._store, folder, chunk_size=_AT_ONCE)
                for entry in page
            }
        except _AWAY as error:
            raise self._away(folder, "listed", error) from error

    def delete(self, keys: Collection[str]) -> None:
        """Remove these; one that is not there is fine."""
        for key in keys:
            _check(key)
            try:
                obstore.delete(self._store, key)
            except _MISSING:
                continue
            except _AWAY as error:
                raise self._away(key, "removed", error) from error

    @cached_property
    def _store(self) -> obstore.store.ObjectStore:
        parts = urlsplit(self.url)
        if not parts.scheme or parts.query or parts.fragment:
            raise ForeignUriError(
                f"{self.url!r} is not an object store; write file:///path or s3://bucket/prefix"
            )
        try:
            if parts.scheme == "file":
                return LocalStore(Path(unquote(parts.netloc + parts.path)).absolute(), mkdir=True)
            return from_url(self.url, **_REMOTE)
        except _AWAY as error:
            raise self._away("", "opened", error) from error

    def _away(self, key: str, done: str, error: Exception) -> StoreUnavailableError:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return StoreUnavailableError(f"{self.url}/{quote(key)} can't be {done}: {reason}")


def _check(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise ForeignUriError(
            f"{key!r} is not a key; use letters, digits and ._=- between single slashes"
        )
