"""Where the states of partitions stand on this machine, and how one that is elsewhere comes here."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from millrace_bus.broker import TopicPartition
from millrace_bus.snapshots import Restored, Snapshots, never
from millrace_bus.store import Codec, PartitionStore
from millrace_kernel.errors import MillraceError, TransientError

logger = logging.getLogger(__name__)

_COMING, _GOING = ".coming-", ".going-"
CHECKPOINT = ".checkpoint-"


class LostRecordsError(MillraceError):
    """The topic has deleted records that this reader needs: doing it again cannot help, and going on would be a lie."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A partition's state, open; `snapshot`: the newest position known to be in the object store."""

    store: PartitionStore
    snapshot: int | None


class Homes:
    """A folder for each partition below one directory, which one process has for itself."""

    def __init__(
        self,
        directory: Path,
        codec: Codec,
        snapshots: Snapshots | None,
        *,
        replay_records: int,
        accept_lost_records: bool,
    ) -> None:
        """A state more than `replay_records` behind its newest snapshot is replaced by it rather than caught up."""
        self.directory = directory
        self.snapshots = snapshots
        self._codec = codec
        self._replay_records = replay_records
        self._accept_lost_records = accept_lost_records

    def sweep(self) -> None:
        """Remove what a killed process has left half done."""
        for prefix in (_COMING, _GOING, CHECKPOINT):
            for folder in self.directory.glob(f"{prefix}*"):
                shutil.rmtree(folder, ignore_errors=True)

    def folder(self, place: TopicPartition) -> Path:
        return self.directory / f"{place.topic}-{place.partition}"

    def open(
        self, place: TopicPartition, beginning: int, stopped: Callable[[], bool] = never
    ) -> Opened:
        """The state to go on from, local or restored. `beginning`: the topic's oldest offset.

        Raises LostRecordsError, StateInUseError, and TransientError when the state must be fetched and can't be now.
        """
        store = self._local(place)
        try:
            unusable: tuple[str, ...] = ()
            newest = self._newest(place, store.position, beginning)
            if self._is_better(newest, store.position, beginning):
                assert self.snapshots is not None
                store.close()
                restored = self._restore(self.snapshots, place, store.position, stopped)
                unusable = restored.unusable
                store = self._local(place)
            self._check(place, store.position, beginning, unusable)
        except BaseException:
            store.close()
            raise
        return Opened(store, newest)

    def _local(self, place: TopicPartition) -> PartitionStore:
        return PartitionStore(self.folder(place), self._codec)

    def _newest(self, place: TopicPartition, position: int | None, beginning: int) -> int | None:
        if self.snapshots is None:
            return None
        try:
            return next(iter(self.snapshots.positions(place)), None)
        except TransientError as error:
            if position is None or position < beginning:
                raise
            logger.warning(
                "going on from the state on this machine: the snapshots can't be looked at",
                extra={"partition": _name(place), "reason": str(error)},
            )
            return None

    def _is_better(self, newest: int | None, position: int | None, beginning: int) -> bool:
        if newest is None:
            return False
        if position is None:
            return True
        return newest > position and (
            position < beginning or newest - position > self._replay_records
        )

    def _restore(
        self,
        snapshots: Snapshots,
        place: TopicPartition,
        above: int | None,
        stopped: Callable[[], bool],
    ) -> Restored:
        """Fetch beside the folder, then put it in the folder's place: a kill leaves one of the two, or none and it is fetched again."""
        coming = Path(tempfile.mkdtemp(prefix=_COMING, dir=self.directory))
        try:
            restored = snapshots.restore(place, coming, above, stopped)
            if restored.position is not None:
                _sync(coming)
                going = Path(tempfile.mkdtemp(prefix=_GOING, dir=self.directory))
                self.folder(place).rename(going)
                coming.rename(self.folder(place))
                shutil.rmtree(going)
                logger.info(
                    "state restored from its snapshot",
                    extra={"partition": _name(place), "position": restored.position},
                )
            return restored
        finally:
            shutil.rmtree(coming, ignore_errors=True)

    def _check(
        self,
        place: TopicPartition,
        position: int | None,
        beginning: int,
        unusable: tuple[str, ...],
    ) -> None:
        """A partition that was never read begins at the topic's beginning. One that was must find all it has not read."""
        if position is None and unusable:
            logger.error(
                "no snapshot of this partition is usable: its state is built again from the topic's beginning",
                extra={"partition": _name(place), "beginning": beginning},
            )
            if beginning > 0:
                self.lost(place, 0, beginning, f"no snapshot is usable ({'; '.join(unusable)})")
        elif position is not None and position < beginning:
            self.lost(place, position, beginning, "no newer snapshot is usable")

    def lost(self, place: TopicPartition, position: int, beginning: int, why: str) -> None:
        """Stop, unless the operator has accepted it: records [position, beginning) have not been read and are gone."""
        message = (
            f"{_name(place)}: this service had read up to offset {position}, but the topic now begins at {beginning} "
            f"(retention), and {why}: {beginning - position} offsets can't be read any more. Find out why the service was "
            "behind its topic's retention; then start it with STATE_ACCEPT_LOST_RECORDS=true to go on without them"
        )
        if not self._accept_lost_records:
            raise LostRecordsError(message)
        logger.error("going on without records that were lost, as accepted: %s", message)


def _sync(folder: Path) -> None:
    """Have it on the disk before it is anybody's state: a folder restored must survive a power cut as one written would."""
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _name(place: TopicPartition) -> str:
    return f"{place.topic}/{place.partition}"
