"""The answers that the broker has not acknowledged yet, oldest first: what is on disk, then what is in memory."""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol

from millrace_contracts.message import Outgoing
from millrace_kernel.time import Instant
from millrace_serving.adapters.spill import Segment, Spill

SEGMENT = 5_000  # records: some MB
_TURN = 200  # records that are written out before requests get their turn


class Entry(Protocol):
    """An answer in memory."""

    @property
    def size(self) -> int:
        """About what it takes in memory, in bytes."""


class Backlog:
    """Answers have numbers, counted from 0 since this start, which become their sequence.

    Memory holds the numbers from `first` on without a gap. Disk holds what an earlier start has left, then segments of
    numbers before `first`; these may hold what was acknowledged while they were written: it is sent once more, under the
    same numbers, and readers drop it.
    """

    def __init__(
        self, record: Callable[[Entry, int], Outgoing], spill: Spill | None, started: Instant
    ) -> None:
        self.waiting: deque[Entry] = deque()
        self._written: deque[Outgoing] = deque()  # the records of the oldest, as far as prepared
        self.bytes = 0  # of what is in memory
        self.first = 0
        self.sent = 0  # all numbers before it have been acknowledged
        self.segments: deque[Segment] = deque(spill.leftovers if spill else ())
        self._record = record
        self._spill = spill
        self._started = started

    def add(self, entry: Entry) -> None:
        self.waiting.append(entry)
        self.bytes += entry.size

    @property
    def taken(self) -> int:
        """The number that the next answer gets."""
        return self.first + len(self.waiting)

    @property
    def is_empty(self) -> bool:
        return not self.waiting and not self.segments

    @property
    def on_disk(self) -> int:
        """Answers that stand in segments."""
        return sum(map(len, self.segments))

    def prepare(self, most: int) -> None:
        """Write out so many more records ahead of time."""
        start = len(self._written)
        entries = islice(self.waiting, start, start + max(0, most))
        number = self.first + start
        self._written += [self._record(entry, number + at) for at, entry in enumerate(entries)]

    def oldest(self, most: int) -> tuple[list[Outgoing], int]:
        """The records of the oldest in memory, and the number after the last of them."""
        records = self._records(self.first, most)
        return records, self.first + len(records)

    def acknowledged(self, end: int) -> None:
        """All numbers before `end` have been written to the stream."""
        self.sent = max(self.sent, end)
        self._forget(end)

    async def read(self, segment: Segment) -> list[Outgoing]:
        assert self._spill
        return await asyncio.to_thread(self._spill.read, segment)

    async def segment_sent(self) -> None:
        """The oldest segment has been written to the stream as a whole."""
        assert self._spill
        segment = self.segments.popleft()
        if segment.started == self._started:
            self.sent = max(self.sent, segment.end)
        await asyncio.to_thread(self._spill.remove, segment)

    async def spill(self) -> int:
        """Bring the oldest in memory, one segment at most, to the disk; how many. Raises SpillFullError.

        Others may add and acknowledge in the meantime.
        """
        assert self._spill
        first, records = self.first, list[Outgoing]()
        while len(records) < SEGMENT and (more := self._records(first + len(records), _TURN)):
            records += more
            await asyncio.sleep(0)
        if not records:
            return 0
        segment = await asyncio.to_thread(self._spill.write, self._started, first, records)
        if self.sent >= segment.end:
            await asyncio.to_thread(self._spill.remove, segment)
        else:
            self.segments.append(segment)
        self._forget(segment.end)
        return len(segment)

    def _records(self, start: int, most: int) -> list[Outgoing]:
        """From number `start` on; none when the first of them has been acknowledged in the meantime."""
        skip = start - self.first
        if skip < 0:
            return []
        self.prepare(skip + most - len(self._written))
        return list(islice(self._written, skip, skip + most))

    def _forget(self, end: int) -> None:
        while self.waiting and self.first < end:
            self.bytes -= self.waiting.popleft().size
            self.first += 1
            if self._written:
                self._written.popleft()
