"""What artifacts a process of their own has survived, remembered over restarts."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock

from millrace_artifacts.trial import REVISION

logger = logging.getLogger(__name__)

_MOST = 100_000  # digests; about 100 bytes each on disk, 150 in memory
_DIGEST = frozenset("0123456789abcdef")


class Tried:
    """Digests of artifacts, by what tried them: another XGBoost, or a trial that asks for more, tries them all again.

    The file is one's own, like all state: who can write there can do worse. A line that is none is forgotten, and so is
    what could not be written: its artifact is tried once more. May be used from any thread.
    """

    def __init__(self, file: Path | None, by: str = "") -> None:
        """`file`: None, where nothing is to outlive the process. `by` is for tests."""
        self._file = file
        self._by = by or f"{REVISION}/{_library()}"
        self._known: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()
        self._read()

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._known

    def add(self, sha256: str) -> None:
        with self._lock:
            self._known[sha256] = None
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
            self._keep(lambda file: _append(file, self._line(sha256)))

    def _read(self) -> None:
        if self._file is None or not self._file.is_file():
            return
        lines = self._file.read_text(errors="replace").splitlines(keepends=True)
        mine = dict.fromkeys(line for line in lines if self._is_mine(line))
        kept = list(mine)[-_MOST:]
        self._known.update((line.split()[1], None) for line in kept)
        if len(kept) < len(lines):
            self._keep(lambda file: _replace(file, kept))

    def _line(self, sha256: str) -> str:
        return f"{self._by} {sha256}\n"

    def _is_mine(self, line: str) -> bool:
        by, _, digest = line.removesuffix("\n").partition(" ")
        is_whole = line.endswith("\n") and len(digest) == 64 and _DIGEST.issuperset(digest)
        return by == self._by and is_whole

    def _keep(self, write: Callable[[Path], None]) -> None:
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write(self._file)
        except OSError as error:
            logger.warning(
                "which models were tried is not remembered after a restart",
                extra={"file": str(self._file), "reason": str(error)},
            )


def _library() -> str:
    """XGBoost under the name of its distribution, which is not imported for this: that takes seconds."""
    for name in ("xgboost-cpu", "xgboost"):
        with suppress(PackageNotFoundError):
            return f"{name}-{version(name)}"
    return "none"


def _append(file: Path, line: str) -> None:
    with file.open("a") as out:
        out.write(line)


def _replace(file: Path, lines: list[str]) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text("".join(lines))
    fresh.replace(file)
