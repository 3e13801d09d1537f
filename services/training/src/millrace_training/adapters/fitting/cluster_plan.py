"""What a fit on a cluster is told: plain values, so that they travel between processes and machines."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A Dask scheduler that the settings allow. The files are PEM, for an address that begins with tls://."""

    name: str
    address: str
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a dataset's rows, one after the other in event time: a Parquet file in the object store."""

    uri: str
    sha256: str
    rows: int
    first_event_time_us: int
    last_event_time_us: int


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Where a fit finds workers and rows.

    `parts` are in order of event time, and the object store at the URL `store` has them. `workers`: so many there must be,
    and with `exactly` no others take part; they are waited for `wait_seconds`. `seconds` is when training stops by itself,
    should whoever waits for it be gone.
    """

    scheduler: Scheduler
    store: str
    parts: tuple[Part, ...]
    workers: int = 1
    exactly: bool = False
    wait_seconds: float = 60.0
    seconds: float = 3600.0

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


@dataclass(frozen=True, slots=True)
class ClusterUse:
    """What a fit had of a cluster: its workers' names and threads in the order of their ranks. What they have used stands in
    the run's cost."""

    scheduler: str
    workers: tuple[str, ...]
    threads: tuple[int, ...]
    parts: int
    lost: int  # attempts that lost workers


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive rows of one part: `start` to `stop` in the part; the first of them is row `place` of all that are learnt."""

    part: Part
    start: int
    stop: int
    place: int

    @property
    def rows(self) -> int:
        return self.stop - self.start


def stretches(parts: tuple[Part, ...], first: int, last: int) -> tuple[Stretch, ...]:
    """Rows `first` to `last` (exclusive) of all parts together."""
    found, before = [], 0
    for part in parts:
        start, stop = max(first - before, 0), min(last - before, part.rows)
        if start < stop:
            found.append(Stretch(part, start, stop, before + start - first))
        before += part.rows
    return tuple(found)


def dealt(pieces: tuple[Stretch, ...], workers: int) -> tuple[int, ...]:
    """Which of the workers learns each piece: neighbours in time go together, and all have about as many rows.

    The same pieces and as many workers give the same answer, so that a fit can be made again.
    """
    total, before, found = sum(piece.rows for piece in pieces), 0, []
    for piece in pieces:
        found.append(min(workers - 1, (2 * before + piece.rows) * workers // (2 * total)))
        before += piece.rows
    return tuple(found)
