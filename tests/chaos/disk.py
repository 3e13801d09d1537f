"""A disk small enough to be filled: a tmpfs of our own, and a ballast file in it."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

MEGABYTES = 48


class NoDiskError(RuntimeError):
    """A small disk can't be made here: the target is skipped, and counts as nothing."""


class SmallDisk:
    """A tmpfs mounted at `folder`. Needs root and a kernel that lets us mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self) -> None:
        """Raises NoDiskError with what the machine said."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mount = shutil.which("mount")
        if mount is None or os.geteuid() != 0:
            raise NoDiskError("mounting a tmpfs needs root and the command mount")
        options = ["-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(self.folder)]
        done = subprocess.run([mount, *options], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NoDiskError(f"mount {' '.join(options)}: {done.stderr.strip()}")

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True, check=False)

    def fill(self) -> None:
        """Until not one byte more goes in."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        ballast.write(b"\0" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"
