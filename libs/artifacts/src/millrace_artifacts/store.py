"""Objects: immutable bytes under a key, announced on the bus by URI and digest (claim check)."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from millrace_artifacts.errors import (
    DigestMismatchError,
    ForeignUriError,
    ObjectConflictError,
    ObjectMissingError,
    StoreUnavailableError,
)

# Segments start with a letter or digit, so neither "..", nor hidden files, nor an empty segment can be written
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*(/[A-Za-z0-9][A-Za-z0-9._=-]*)*")
_MISSING = (NotFoundError, FileNotFoundError)
_EXISTING = (AlreadyExistsError, FileExistsError)
_AWAY = (BaseError, OSError)


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as an event announces it: `size` in bytes, `sha256` in hexadecimal."""

    uri: str
    sha256: str
    size: int


def digest_key(folder: str, content: bytes, suffix: str) -> str:
    """`<folder>/<sha256><suffix>`: a key that only this content can have, so that work done again can't conflict."""
    return f"{folder}/{hashlib.sha256(content).hexdigest()}{suffix}"


class ObjectStore:
    """Immutable objects below one URL: `file:///path` (made when missing; `file://path` is below the working directory)
    or whatever else obstore understands (`s3://bucket/prefix`, with credentials from where its SDK finds them).

    Synchronous and safe to share between threads. Raises StoreUnavailableError when the store can't be opened.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if not parts.scheme or parts.query or parts.fragment:
            raise ForeignUriError(
                f"{url!r} is not an object store; write file:///path or s3://bucket/prefix"
            )
        try:
            if parts.scheme == "file":
                folder = Path(unquote(parts.netloc + parts.path)).absolute()
                self.url = f"file://{quote(str(folder))}"
                self._store: obstore.store.ObjectStore = LocalStore(folder, mkdir=True)
            else:
                self.url = url.rstrip("/")
                self._store = from_url(self.url)
        except _AWAY as error:
            raise StoreUnavailableError(
                f"the object store {url} can't be opened: {_first_line(error)}"
            ) from error

    def put(self, key: str, content: bytes) -> Stored:
        """Write an object, all of it or nothing. The same content again is fine.

        Raises ObjectConflictError when the key holds other content, ForeignUriError for a key that is not
        letters, digits and `._=-` between single slashes, StoreUnavailableError.
        """
        if not _KEY.fullmatch(key):
            raise ForeignUriError(
                f"{key!r} is not a key; use letters, digits and ._=- between single slashes"
            )
        stored = Stored(f"{self.url}/{key}", hashlib.sha256(content).hexdigest(), len(content))
        try:
            obstore.put(self._store, key, content, mode="create", use_multipart=False)
        except _EXISTING as error:
            if self.get(stored.uri, None) != content:
                raise ObjectConflictError(
                    f"{stored.uri} holds other content; objects never change, use another key"
                ) from error
        except _AWAY as error:
            raise StoreUnavailableError(
                f"{stored.uri} can't be written: {_first_line(error)}"
            ) from error
        return stored

    def get(self, uri: str, sha256: str | None) -> bytes:
        """Read an object; with `sha256` only that very content.

        Raises DigestMismatchError, ForeignUriError for a URI outside this store, ObjectMissingError, StoreUnavailableError.
        """
        key = uri.removeprefix(f"{self.url}/")
        if key == uri or not _KEY.fullmatch(key):
            raise ForeignUriError(
                f"{uri} is not in the object store {self.url}; do all services share one OBJECT_STORE_URL?"
            )
        try:
            content = bytes(obstore.get(self._store, key).bytes())
        except _MISSING as error:
            raise ObjectMissingError(f"{uri} does not exist (yet)") from error
        except _AWAY as error:
            raise StoreUnavailableError(f"{uri} can't be read: {_first_line(error)}") from error
        found = hashlib.sha256(content).hexdigest()
        if sha256 is not None and found != sha256:
            raise DigestMismatchError(
                f"{uri} has sha256 {found}, but {sha256} was announced; the object was damaged or replaced"
            )
        return content


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
