"""What a process uses, as Linux tells it: processor time, memory, and the energy of the machine that falls to it.

The processor and the memory of a child are read from outside while it works (so that something is known of one that is
killed) and told by the child itself at its end (exactly). Energy is the packages' (RAPL), of which the child is given the
share that it had in all the processor time that the machine spent meanwhile; a machine without such a meter, or one that
only root may read, reports none.
"""

import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from millrace_training.adapters.processes.family import family_of
from millrace_training.domain.costs import Cost

_PAGE = resource.getpagesize()
_TICKS = os.sysconf("SC_CLK_TCK")
_KIBIBYTE = 1024
_MICRO = 1e6
_PROC, _POWERCAP = Path("/proc"), Path("/sys/class/powercap")
_PACKAGES = (
    "intel-rapl:?"  # one per package; deeper ones are parts of these, AMD's have the same name
)


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """What a process has used so far: seconds of all its threads, the most bytes it ever had resident, and the seconds that
    other machines worked for it."""

    cpu_seconds: float
    peak_bytes: int
    elsewhere_seconds: float = 0.0


_elsewhere: list[float] = []


def count_elsewhere(cpu_seconds: float) -> None:
    """Other machines have worked so long for this process: its own usage tells of it from now on."""
    _elsewhere.append(cpu_seconds)


def own_usage() -> Usage:
    """This process's, exactly, and that of the children which it has waited for; the peak is of the largest of them."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(kind) for kind in kinds]
    peak = max(each.ru_maxrss for each in used)
    here = sum(each.ru_utime + each.ru_stime for each in used)
    return Usage(here, peak * _KIBIBYTE, sum(_elsewhere))


def usage_of(pid: int, proc: Path = _PROC) -> Usage | None:
    """Another process's, to the clock tick; None when it is not there (any more)."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
        resident = (proc / str(pid) / "statm").read_text().split()[1]
    except (OSError, IndexError):
        return None
    # the name, which may hold spaces and brackets, ends at the last bracket; utime and stime are 14th and 15th of all
    fields = stat.rpartition(")")[2].split()
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, int(resident) * _PAGE)


def usage_of_family(pid: int, proc: Path = _PROC) -> Usage | None:
    """That of a process and of all below it: memory that they share counts as often as it is shared."""
    family = family_of((pid,), proc)
    if not family:
        return None
    cpu, resident = (each.cpu_seconds for each in family), (each.resident_bytes for each in family)
    return Usage(sum(cpu), sum(resident))


@dataclass(frozen=True, slots=True)
class _Reading:
    joules: tuple[tuple[Path, float], ...]
    busy_seconds: float


@dataclass(slots=True)
class Meter:
    """Measures one child from its start until `cost`. `peak_bytes` is of the samples so far."""

    powercap: Path = _POWERCAP
    proc: Path = _PROC
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    elsewhere_seconds: float = 0.0
    _began: float = field(default_factory=time.monotonic)
    _first: _Reading | None = None

    def __post_init__(self) -> None:
        self._first = self._reading()

    def sample(self, pid: int, *, family: bool = False) -> Usage | None:
        """Look at the child, and with `family` at all below it; None when it is not there."""
        usage = (usage_of_family if family else usage_of)(pid, self.proc)
        if usage is not None:
            self.add(usage)
        return usage

    def add(self, usage: Usage) -> None:
        self.cpu_seconds = max(self.cpu_seconds, usage.cpu_seconds)
        self.peak_bytes = max(self.peak_bytes, usage.peak_bytes)
        self.elsewhere_seconds = max(self.elsewhere_seconds, usage.elsewhere_seconds)

    def cost(self) -> Cost:
        """The energy of other machines nobody tells: where they worked, it is not known."""
        joules = None if self.elsewhere_seconds else self._joules()
        seconds = self.cpu_seconds + self.elsewhere_seconds
        return Cost(seconds, time.monotonic() - self._began, self.peak_bytes, joules)

    def _joules(self) -> float | None:
        first, last = self._first, self._reading()
        if first is None or last is None:
            return None
        before, after = dict(first.joules), dict(last.joules)
        if before.keys() != after.keys():
            return None
        spent = sum(_risen(path, before[path], after[path]) for path in before)
        busy = last.busy_seconds - first.busy_seconds
        return spent * min(1.0, self.cpu_seconds / busy) if busy > 0 else 0.0

    def _reading(self) -> _Reading | None:
        try:
            packages = sorted(self.powercap.glob(_PACKAGES))
            joules = tuple((path, _joules_in(path / "energy_uj")) for path in packages)
            busy = _busy_seconds((self.proc / "stat").read_text())
        except (OSError, ValueError):
            return None
        return _Reading(joules, busy) if joules else None


def _joules_in(file: Path) -> float:
    return int(file.read_text()) / _MICRO


def _risen(package: Path, before: float, after: float) -> float:
    """The counter starts again at zero after its greatest value."""
    if after >= before:
        return after - before
    return after - before + _joules_in(package / "max_energy_range_uj")


def _busy_seconds(stat: str) -> float:
    """All processors', idle and waiting for disks left out. Guests' time is in the users' already."""
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS
