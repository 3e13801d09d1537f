"""Snapshots of partitions' states in the object store, so that a partition can move to another machine.

    snapshots/<cluster>/<service>/<topic>-<partition>/files/<sha256>
                                                     /manifests/<position, twenty digits>.json

RocksDB's files never change, so a snapshot sends only those that the one before did not have. Its manifest is written
last and is what makes it real. See docs/decisions/0007.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from millrace_bus.blobs import Blobs
from millrace_bus.broker import TopicPartition
from millrace_bus.store import stored_position
from millrace_kernel.errors import MillraceError, TransientError
from millrace_kernel.time import HOUR

logger = logging.getLogger(__name__)

FORMAT = 1  # of the manifest and of what it says about files; another layout gets another number
KEPT = 2
GRACE = HOUR  # a file that no manifest names may belong to a snapshot that is being written: it stays so long
MAX_MANIFEST_BYTES = 16 << 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MANIFEST = re.compile(r".*/manifests/(\d{20})\.json")
_NOT_STATE = re.compile(r"LOCK|LOG(\.old.*)?")

_Inode = tuple[
    int, int, int
]  # number, size, time of change: a linked file that has these is the same as before


class DamagedSnapshotError(MillraceError):
    """A snapshot of which something is missing or is not what its manifest says."""


class StoppedError(MillraceError):
    """Whoever asked for it does not want it any more."""


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A file of a state folder. `size` in bytes, `sha256` in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot is made of. `position`: the next offset to be read; `state`: the version of the service's own layout."""

    position: int
    state: int
    files: tuple[SnapshotFile, ...]

    def to_json(self) -> bytes:
        content = {"format": FORMAT, "position": self.position, "state": self.state}
        files = [asdict(file) for file in self.files]
        return json.dumps(content | {"files": files}, indent=1).encode()

    @staticmethod
    def from_json(content: bytes) -> "Manifest":
        """Raises DamagedSnapshotError for what is not a manifest of this format."""
        try:
            fields = json.loads(content)
            if fields["format"] != FORMAT:
                raise DamagedSnapshotError(
                    f"its format is {fields['format']}, this version reads {FORMAT}"
                )
            files = tuple(_file(entry) for entry in fields["files"])
            return Manifest(_count(fields["position"]), _count(fields["state"]), files)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedSnapshotError(f"its manifest can't be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Saved:
    """What one snapshot cost: files and bytes that were sent."""

    position: int
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Restored:
    """`position` of the snapshot that was taken, None when none would do; `unusable`: those passed over, newest first."""

    position: int | None
    unusable: tuple[str, ...] = ()


class Snapshots:
    """The snapshots of one service's partitions. Synchronous and slow: call it in a thread.

    `cluster` names the Kafka cluster that the positions are of; `state` is the version of the service's own layout, and
    a snapshot of another one is not restored. Every call may raise TransientError when the store is away.
    """

    def __init__(
        self, service: str, blobs: Blobs, cluster: Callable[[], str], *, state: int = 1
    ) -> None:
        self._service = service
        self._blobs = blobs
        self._cluster = cluster
        self._state = state
        self._root: str | None = None
        self._digests: dict[TopicPartition, dict[_Inode, str]] = {}

    def folder(self, place: TopicPartition) -> str:
        """Where this partition's snapshots are."""
        if self._root is None:
            self._root = f"snapshots/{self._cluster()}/{self._service}"
        return f"{self._root}/{place.topic}-{place.partition}"

    def positions(self, place: TopicPartition) -> list[int]:
        """Of all snapshots there are, whole or not; newest first."""
        listed = self._blobs.list(f"{self.folder(place)}/manifests")
        found = [int(match[1]) for key in listed if (match := _MANIFEST.fullmatch(key))]
        return sorted(found, reverse=True)

    def save(
        self,
        place: TopicPartition,
        position: int,
        checkpoint: Path,
        stopped: Callable[[], bool] = never,
    ) -> Saved:
        """Send a checkpoint of the state at a position: files first, the manifest last, then remove what is old."""
        there, known = self._trusted(place), self._digests.get(place, {})
        digests: dict[_Inode, str] = {}
        sent, sent_bytes, files = 0, 0, []
        for path in sorted(checkpoint.iterdir()):
            if _NOT_STATE.fullmatch(path.name):
                continue
            if stopped():
                raise StoppedError
            status = path.stat()
            inode = (status.st_ino, status.st_size, status.st_mtime_ns)
            digests[inode] = known.get(inode) or _digest(path)
            file = SnapshotFile(path.name, status.st_size, digests[inode])
            files.append(file)
            if there.get(file.sha256) != file.size:
                self._blobs.put(self._file_key(place, file.sha256), path)
                there[file.sha256] = file.size
                sent, sent_bytes = sent + 1, sent_bytes + file.size
        manifest = Manifest(position, self._state, tuple(files))
        content = manifest.to_json()
        self._blobs.put(self._manifest_key(place, position), content)
        self._digests[place] = digests
        self._tidy(place, manifest)
        return Saved(position, sent, sent_bytes + len(content))

    def restore(
        self,
        place: TopicPartition,
        into: Path,
        above: int | None = None,
        stopped: Callable[[], bool] = never,
    ) -> Restored:
        """Fetch the newest whole snapshot whose position is above `above` into an empty folder, every digest verified."""
        unusable = []
        for position in self.positions(place):
            if above is not None and position <= above:
                break
            try:
                self._fetch(place, position, into, stopped)
            except DamagedSnapshotError as error:
                unusable.append(f"{self._manifest_key(place, position)}: {error}")
                logger.error(  # noqa: TRY400  a trace adds nothing
                    "a snapshot is damaged; taking the one before", extra={"reason": unusable[-1]}
                )
                for path in into.iterdir():
                    path.unlink()
            else:
                return Restored(position, tuple(unusable))
        return Restored(None, tuple(unusable))

    def _fetch(
        self, place: TopicPartition, position: int, into: Path, stopped: Callable[[], bool]
    ) -> None:
        manifest = self._manifest(place, position)
        if manifest.position != position:
            raise DamagedSnapshotError(f"its manifest is of position {manifest.position}")
        if manifest.state != self._state:
            raise DamagedSnapshotError(
                f"the state in it is of version {manifest.state}, this service reads {self._state}"
            )
        for file in manifest.files:
            if stopped():
                raise StoppedError
            self._download(self._file_key(place, file.sha256), file, into / file.name)
        try:
            found = stored_position(into)
        except Exception as error:  # RocksDB has no class of its own for what it can't open
            raise DamagedSnapshotError(f"RocksDB can't open it: {error}") from error
        if found != position:
            raise DamagedSnapshotError(f"its state is of position {found}")

    def _download(self, key: str, file: SnapshotFile, target: Path) -> None:
        parts = self._blobs.get(key)
        if parts is None:
            raise DamagedSnapshotError(f"{key} ({file.name}) is missing")
        digest, size = hashlib.sha256(), 0
        with target.open("wb") as output:
            for part in parts:
                digest.update(part)
                size += len(part)
                if size > file.size:
                    break
                output.write(part)
        if size != file.size or digest.hexdigest() != file.sha256:
            raise DamagedSnapshotError(
                f"{key} ({file.name}) is not what its manifest says: {size} bytes, sha256 {digest.hexdigest()}"
            )

    def _manifest(self, place: TopicPartition, position: int) -> Manifest:
        parts = self._blobs.get(self._manifest_key(place, position))
        if parts is None:
            raise DamagedSnapshotError("its manifest has gone")
        content = b""
        for part in parts:
            content += part
            if len(content) > MAX_MANIFEST_BYTES:
                raise DamagedSnapshotError("its manifest is too large to be one")
        return Manifest.from_json(content)

    def _trusted(self, place: TopicPartition) -> dict[str, int]:
        """Files that need not be sent again, digest to size: there, and held by the newest manifest.

        One that only an older manifest holds may be removed by another process any moment.
        """
        listed = self._blobs.list(f"{self.folder(place)}/files")
        for position in self.positions(place):
            try:
                manifest = self._manifest(place, position)
            except DamagedSnapshotError:
                continue
            sizes = {key.rpartition("/")[2]: size for key, (size, _) in listed.items()}
            named = {file.sha256 for file in manifest.files}
            return {digest: size for digest, size in sizes.items() if digest in named}
        return {}

    def _tidy(self, place: TopicPartition, written: Manifest) -> None:
        """Remove manifests beyond the newest two and this one, and files that no manifest left names, after a while."""
        root = self.folder(place)
        listed = self._blobs.list(root)
        missing = [
            file.name for file in written.files if self._file_key(place, file.sha256) not in listed
        ]
        own = self._manifest_key(place, written.position)
        if missing:
            self._blobs.delete([own])
            raise TransientError(
                f"{root}: {', '.join(missing)} was removed while the snapshot at {written.position} was written; "
                "does another process have this partition? The next snapshot sends it again"
            )
        manifests = sorted(key for key in listed if _MANIFEST.fullmatch(key))
        kept = {*manifests[-KEPT:], own}
        self._blobs.delete([key for key in manifests if key not in kept])
        named = self._named(place, kept - {own}) | {file.sha256 for file in written.files}
        now = max(
            at for _, at in listed.values()
        )  # by the store's clock: the manifest just written
        self._blobs.delete(
            [
                key
                for key, (_, at) in listed.items()
                if key.startswith(f"{root}/files/")
                and key.rpartition("/")[2] not in named
                and at < now - GRACE
            ]
        )

    def _named(self, place: TopicPartition, manifests: set[str]) -> set[str]:
        named = set()
        for key in manifests:
            match = _MANIFEST.fullmatch(key)
            assert match is not None
            try:
                manifest = self._manifest(place, int(match[1]))
            except DamagedSnapshotError:
                continue
            named |= {file.sha256 for file in manifest.files}
        return named

    def _file_key(self, place: TopicPartition, sha256: str) -> str:
        return f"{self.folder(place)}/files/{sha256}"

    def _manifest_key(self, place: TopicPartition, position: int) -> str:
        return f"{self.folder(place)}/manifests/{position:020d}.json"


def _file(entry: Mapping[str, Any]) -> SnapshotFile:
    file = SnapshotFile(str(entry["name"]), _count(entry["size"]), str(entry["sha256"]))
    if not _NAME.fullmatch(file.name) or not _SHA256.fullmatch(file.sha256):
        raise ValueError(f"{file} names no file of a state")
    return file


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
