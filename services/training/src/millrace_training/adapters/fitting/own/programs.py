"""Running somebody else's program in a folder, and not letting anything of it outlive that.

It gets no environment but a few plain variables, so no secret of the service, no open file but its standard ones, and what it
writes to standard error is kept only as far as it fits into a message.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from millrace_training.adapters.fitting.job import FitError
from millrace_training.adapters.processes.family import adopting, children_of, end_all, family_of

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LONGEST_WORDS = 600  # characters of standard error, the last ones
_READ_BYTES = 4_096
_DRAIN_SECONDS = 2.0  # for what was said, once nobody is there any more to say it
_GENERATIONS = 10  # the end of one orphans the next
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ProgramError(FitError):
    """The program did not do what it is for."""


def run_program(
    name: str, command: Sequence[str], folder: Path, *, seconds: float, threads: int
) -> None:
    """Run it in `folder` until it ends with code 0. Whatever it started has ended, too, when this returns or raises.

    Meanwhile this process may start no other child: it would be taken for one of the program's. Raises ProgramError with what it said last.
    """
    with adopting():
        before = {(each.pid, each.began) for each in children_of(os.getpid())}
        try:
            process = _started(command, folder, threads)
        except OSError as error:
            raise ProgramError(f"{name} can't be started: {error}") from error
        assert process.stderr is not None
        words = _Words(process.stderr)
        with _ended(process, before):
            problem = _problem(process, seconds)
        said = words.last()
    if problem:
        raise ProgramError(f"{name} {problem}{f'; it said last: {said}' if said else ''}")


def program_of(command: Sequence[str]) -> str | None:
    """Where the program is that a command names; None where there is none."""
    return shutil.which(command[0], path=PATH)


def _started(command: Sequence[str], folder: Path, threads: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        executable=program_of(command),
        cwd=folder,
        env=_environment(folder, threads),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _environment(folder: Path, threads: int) -> dict[str, str]:
    """All of it. One seed for Python's hashes, so that a set's order does not make another model."""
    plain = {"PATH": PATH, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    return (
        plain | {"HOME": str(folder), "TMPDIR": str(folder)} | dict.fromkeys(_THREADS, str(threads))
    )


def _problem(process: "subprocess.Popen[bytes]", seconds: float) -> str:
    """How it ended, in words; empty when all is well."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return (
            f"took longer than {seconds:g} s and was stopped; make it faster, or let it have more time "
            "(TRAINING_COMMAND_SECONDS)"
        )
    if code < 0:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"ended with code {code}" if code else ""


@contextlib.contextmanager
def _ended(process: "subprocess.Popen[bytes]", before: set[tuple[int, int]]) -> Iterator[None]:
    """Afterwards it has ended, with all that it started: what it left behind are this process's children by now."""
    try:
        yield
    finally:
        if process.poll() is None:
            end_all(family_of({process.pid}))
            process.wait()
        for _ in range(_GENERATIONS):
            left = [
                each for each in children_of(os.getpid()) if (each.pid, each.began) not in before
            ]
            if not left:
                break
            end_all(family_of({each.pid for each in left}))
            for each in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(each.pid, os.WNOHANG)


class _Words:
    """What is written to a pipe, of which only the end is kept, while somebody else waits for the writer."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._end = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def last(self) -> str:
        """On one line, and nothing in it that a terminal would obey."""
        self._reader.join(_DRAIN_SECONDS)
        text = " ".join(self._end.decode(errors="replace").split())
        kept = "".join(letter for letter in text if letter.isprintable())
        return kept if len(kept) <= _LONGEST_WORDS else "…" + kept[-_LONGEST_WORDS:]

    def _read(self) -> None:
        with self._source:
            while piece := os.read(self._source.fileno(), _READ_BYTES):
                self._end = (self._end + piece)[-_READ_BYTES:]
