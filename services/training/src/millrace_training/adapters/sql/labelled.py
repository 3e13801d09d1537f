"""How many events have both a vector and a label, counted as they come.

A query for each event would be slow. They are looked up in bulk instead: when the transaction ends, or earlier when the
answer could matter, which is when the rows counted and the events not yet looked up are as many as are asked about.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from millrace_kernel.ids import EventId, PipelineName
from millrace_kernel.time import Instant
from millrace_training.adapters.tables import labelled_rows, sides, upsert

_AT_ONCE = 500


@dataclass(slots=True)
class _Sides:
    """What is known of one event. Of several labels and retractions, the one known last counts."""

    version: int | None = None  # of the pipeline file that its vector follows; None: no vector yet
    known_at: int | None = None
    labelled: bool = False

    @property
    def counted(self) -> int | None:
        """Under which version it is a labelled row; None: it is none."""
        return self.version if self.labelled else None


@dataclass(frozen=True, slots=True)
class _Vector:
    event_id: EventId
    version: int

    def seen(self, event: _Sides) -> None:
        event.version = self.version


@dataclass(frozen=True, slots=True)
class _Label:
    event_id: EventId
    known_at: int
    stands: bool

    def seen(self, event: _Sides) -> None:
        if event.known_at is None or self.known_at >= event.known_at:
            event.known_at, event.labelled = self.known_at, self.stands


class _Events:
    """One pipeline's events within one transaction, which holds the pipeline's lock (see `SqlPipelines`)."""

    def __init__(self, connection: Connection, pipeline: PipelineName) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._counts: dict[int, int] | None = None
        self._known: dict[EventId, _Sides] = {}
        self._changed: set[EventId] = set()
        self.queue: list[_Vector | _Label] = []

    @property
    def counts(self) -> dict[int, int]:
        """Labelled rows by version, without those in the queue."""
        if self._counts is None:
            table = labelled_rows
            query = select(table.c.version, table.c.rows).where(table.c.pipeline == self._pipeline)
            self._counts = {row.version: row.rows for row in self._connection.execute(query)}
        return self._counts

    def look_up(self) -> None:
        """Work the queue off."""
        if not self.queue:
            return
        counts = self.counts
        self._load({seen.event_id for seen in self.queue} - self._known.keys())
        for seen in self.queue:
            event = self._known.setdefault(seen.event_id, _Sides())
            before = event.counted
            seen.seen(event)
            self._changed.add(seen.event_id)
            if event.counted != before:
                if before is not None:
                    counts[before] -= 1
                if event.counted is not None:
                    counts[event.counted] = counts.get(event.counted, 0) + 1
        self.queue.clear()

    def _load(self, event_ids: set[EventId]) -> None:
        columns = (sides.c.event_id, sides.c.version, sides.c.known_at_us, sides.c.labelled)
        for some in _in_parts(sorted(event_ids)):
            query = select(*columns).where(
                sides.c.pipeline == self._pipeline, sides.c.event_id.in_(some)
            )
            for event_id, version, known_at, labelled in self._connection.execute(query):
                self._known[EventId(event_id)] = _Sides(version, known_at, labelled)

    def flush(self) -> None:
        self.look_up()
        if not self._changed:
            return
        events = [(event_id, self._known[event_id]) for event_id in sorted(self._changed)]
        self._connection.execute(
            upsert(self._connection, sides),
            [
                {
                    "pipeline": self._pipeline,
                    "event_id": event_id,
                    "version": event.version,
                    "known_at_us": event.known_at,
                    "labelled": event.labelled,
                }
                for event_id, event in events
            ],
        )
        rows = [
            {"pipeline": self._pipeline, "version": version, "rows": rows}
            for version, rows in self.counts.items()
        ]
        if rows:
            self._connection.execute(upsert(self._connection, labelled_rows), rows)
        self._changed.clear()


class SqlLabelledRows:
    """`application.ports.LabelledRows`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._events: dict[PipelineName, _Events] = {}

    def vector(self, pipeline: PipelineName, event_id: EventId, version: int) -> None:
        self._of(pipeline).queue.append(_Vector(event_id, version))

    def label(
        self, pipeline: PipelineName, event_id: EventId, known_at: Instant, *, stands: bool
    ) -> None:
        self._of(pipeline).queue.append(_Label(event_id, known_at, stands))

    def count(self, pipeline: PipelineName, versions: frozenset[int]) -> int:
        events = self._of(pipeline)
        events.look_up()
        return _total(events.counts, versions)

    def reach(self, pipeline: PipelineName, versions: frozenset[int], rows: int) -> bool:
        events = self._of(pipeline)
        if _total(events.counts, versions) + len(events.queue) < rows:
            return False
        return self.count(pipeline, versions) >= rows

    def flush(self) -> None:
        for events in self._events.values():
            events.flush()

    def _of(self, pipeline: PipelineName) -> _Events:
        events = self._events.get(pipeline)
        if events is None:
            events = self._events[pipeline] = _Events(self._connection, pipeline)
        return events


def forget_settled(connection: Connection, pipeline: PipelineName, known_before: Instant) -> None:
    """Drop events that are counted for good: no longer corrected, they need not be recognised again.

    A label that is taken back later still leaves the next dataset, but stays in the count.
    """
    connection.execute(
        delete(sides).where(
            sides.c.pipeline == pipeline,
            sides.c.labelled,
            sides.c.version.is_not(None),
            sides.c.known_at_us < known_before,
        )
    )


def _total(counts: dict[int, int], versions: frozenset[int]) -> int:
    return sum(counts.get(version, 0) for version in versions)


def _in_parts(event_ids: list[EventId]) -> Iterator[list[EventId]]:
    for start in range(0, len(event_ids), _AT_ONCE):
        yield event_ids[start : start + _AT_ONCE]
