"""Where snapshots are put: a port with two implementations, `millrace_artifacts.blobs` (file://, s3://) and
`millrace_testkit.blobs` (memory), which pass one suite of tests (`millrace_testkit.blob_suite`)."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from millrace_kernel.time import Instant


class Blobs(Protocol):
    """Bytes under keys (`a/b/c`; segments of letters, digits and `._=-`). Synchronous, and safe to share between threads.

    Every call may raise TransientError when the store is away.
    """

    def put(self, key: str, content: bytes | Path) -> None:
        """Write bytes, or the content of a file: all of it or nothing; what was there is replaced."""

    def get(self, key: str) -> Iterator[bytes] | None:
        """The content in parts; None when there is none."""

    def list(self, folder: str) -> Mapping[str, tuple[int, Instant]]:
        """All keys below a folder, with their size in bytes and when they were written, by the store's own clock."""

    def delete(self, keys: Collection[str]) -> None:
        """Remove these; one that is not there is fine."""
