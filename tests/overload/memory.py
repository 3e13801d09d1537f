"""Watches how much memory processes have resident."""

import asyncio
from collections.abc import Callable, Mapping

import psutil

MIB = 1 << 20


class Memory:
    """A component: `run` until cancelled. `pids` is asked each time, since a service that died has another one."""

    def __init__(self, pids: Callable[[], Mapping[str, int]], every_seconds: float = 1.0) -> None:
        self.peaks: dict[str, float] = {}
        self.looks = 0
        self._pids = pids
        self._every_seconds = every_seconds

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(self._every_seconds)

    def look(self) -> None:
        for name, pid in self._pids().items():
            resident = resident_mib(pid)
            if resident is not None:
                self.peaks[name] = max(self.peaks.get(name, 0.0), resident)
        self.looks += 1

    def begin_again(self) -> None:
        self.peaks = {}
        self.looks = 0


def resident_mib(pid: int) -> float | None:
    """Of the process itself; None when it has ended. A child that fits a model has a bound of its own."""
    try:
        return psutil.Process(pid).memory_info().rss / MIB
    except psutil.NoSuchProcess:
        return None
