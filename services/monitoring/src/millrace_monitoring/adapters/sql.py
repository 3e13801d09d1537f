"""What monitoring remembers, in SQL: read once per transaction, written once in `flush`."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from millrace_bus.sql import Database
from millrace_bus.unit import Unit
from millrace_kernel.ids import EventId, ModelVersionNumber, PipelineName
from millrace_kernel.profile import profile_from_json, to_json
from millrace_kernel.time import Instant
from millrace_monitoring.adapters import tables
from millrace_monitoring.domain.events import (
    LabelObserved,
    LabelRetracted,
    PredictionMade,
)
from millrace_monitoring.domain.joins import NOTHING, Waiting
from millrace_monitoring.domain.monitor import Monitor
from millrace_monitoring.domain.pipelines import WatchedPipeline
from millrace_monitoring.domain.windows import Reference, reference_of

_MONITOR = msgspec.msgpack.Decoder(Monitor)
_WAITING = msgspec.msgpack.Decoder(Waiting)
_WATCHED = msgspec.json.Decoder(WatchedPipeline)
_PACK = msgspec.msgpack.Encoder()


class SqlPipelines:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[PipelineName, WatchedPipeline | None] = {}

    def of(self, name: PipelineName) -> WatchedPipeline | None:
        if name not in self._known:
            table = tables.pipelines
            row = self._connection.execute(
                select(table.c.settings).where(table.c.name == name)
            ).first()
            self._known[name] = None if row is None else _WATCHED.decode(row[0])
        return self._known[name]

    def put(self, watched: WatchedPipeline) -> None:
        self._known[watched.name] = watched
        row = {
            "name": watched.name,
            "version": watched.version,
            "settings": msgspec.json.encode(watched).decode(),
        }
        _upsert(self._connection, tables.pipelines, [row])


class SqlReferences:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[PipelineName, Reference | None] = {}

    def of(self, pipeline: PipelineName) -> Reference | None:
        if pipeline not in self._known:
            table = tables.champions
            row = self._connection.execute(
                select(table.c.version, table.c.epoch, table.c.profile).where(
                    table.c.pipeline == pipeline
                )
            ).first()
            self._known[pipeline] = (
                None if row is None else _reference(row[0], row[1], bytes(row[2]))
            )
        return self._known[pipeline]

    def put(self, pipeline: PipelineName, reference: Reference) -> None:
        self._known[pipeline] = reference
        row = {
            "pipeline": pipeline,
            "version": reference.version,
            "epoch": reference.epoch,
            "profile": to_json(reference.profile),
        }
        _upsert(self._connection, tables.champions, [row])


@lru_cache(maxsize=64)
def _reference(version: int, epoch: int, profile: bytes) -> Reference:
    """Kept over transactions: a profile never changes, and reading one takes longer than a whole batch's counting."""
    return reference_of(ModelVersionNumber(version), epoch, profile_from_json(profile))


class SqlMonitors:
    """`of` locks the pipeline's row until the transaction ends: on PostgreSQL two workers take turns, and on SQLite
    there is one writer anyway."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[PipelineName, Monitor] = {}
        self._changed: set[PipelineName] = set()

    def of(self, pipeline: PipelineName) -> Monitor:
        known = self._known.get(pipeline)
        if known is None:
            state = self._locked(pipeline)
            known = self._known[pipeline] = _MONITOR.decode(state) if state else Monitor()
        return known

    def _locked(self, pipeline: PipelineName) -> bytes:
        table = tables.monitors
        query = select(table.c.state).where(table.c.pipeline == pipeline).with_for_update()
        row = self._connection.execute(query).first()
        if row is None:
            _upsert(self._connection, table, [{"pipeline": pipeline, "state": b""}], replace=False)
            row = self._connection.execute(query).one()
        return bytes(row[0])

    def put(self, pipeline: PipelineName, monitor: Monitor) -> None:
        self._known[pipeline] = monitor
        self._changed.add(pipeline)

    def flush(self) -> None:
        if self._changed:
            table = tables.monitors
            self._connection.execute(
                update(table)
                .where(table.c.pipeline == bindparam("name"))
                .values(state=bindparam("new_state")),
                [
                    {"name": name, "new_state": _PACK.encode(self._known[name])}
                    for name in sorted(self._changed)
                ],
            )


_Key = tuple[PipelineName, EventId]


class SqlJoins:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stored: dict[_Key, bool] = {}
        self._known: dict[_Key, Waiting] = {}
        self._changed: set[_Key] = set()
        self._over: dict[PipelineName, tuple[int, Instant]] = {}

    def of(self, pipeline: PipelineName, event_id: EventId) -> Waiting:
        key = (pipeline, event_id)
        known = self._known.get(key)
        if known is None:
            row = self._connection.execute(
                _SIDES, {"wanted_pipeline": pipeline, "wanted_event": event_id}
            ).first()
            self._stored[key] = row is not None
            known = self._known[key] = NOTHING if row is None else _WAITING.decode(row[0])
        return known

    def fetch(self, pipeline: PipelineName, event_ids: Collection[EventId]) -> None:
        """Read at once what `of` will be asked for: asking one by one takes most of a batch's time on PostgreSQL."""
        rows = self._connection.execute(
            _MANY_SIDES, {"wanted_pipeline": pipeline, "wanted_events": list(event_ids)}
        )
        sides = {event_id: content for event_id, content in rows}  # noqa: C416  a Row is no pair to `dict`
        for event_id in event_ids:
            key, content = (pipeline, event_id), sides.get(event_id)
            if key not in self._known:
                self._stored[key] = content is not None
                self._known[key] = NOTHING if content is None else _WAITING.decode(content)

    def put(self, pipeline: PipelineName, event_id: EventId, waiting: Waiting) -> None:
        key = (pipeline, event_id)
        if waiting is not self.of(pipeline, event_id):
            self._known[key] = waiting
            self._changed.add(key)

    def forget_before(self, pipeline: PipelineName, number: int, since: Instant) -> None:
        self._over[pipeline] = (number, since)  # both only grow

    def flush(self) -> None:
        table = tables.waiting
        gone = [key for key in self._changed if self._stored[key]]
        if gone:
            self._connection.execute(
                delete(table).where(
                    table.c.pipeline == bindparam("gone_pipeline"),
                    table.c.event_id == bindparam("gone_event"),
                ),
                [
                    {"gone_pipeline": pipeline, "gone_event": event_id}
                    for pipeline, event_id in gone
                ],
            )
        come = [key for key in self._changed if not self._known[key].is_over]
        if come:
            self._connection.execute(insert(table), [self._row(key) for key in come])
        for pipeline, (number, since) in sorted(self._over.items()):
            self._connection.execute(
                delete(table).where(
                    table.c.pipeline == pipeline, table.c.number < number, table.c.since < since
                )
            )

    def _row(self, key: _Key) -> dict[str, Any]:
        waiting = self._known[key]
        return {
            "pipeline": key[0],
            "event_id": key[1],
            "number": waiting.number,
            "since": waiting.since,
            "sides": _PACK.encode(waiting),
        }


_SIDES = select(tables.waiting.c.sides).where(
    tables.waiting.c.pipeline == bindparam("wanted_pipeline"),
    tables.waiting.c.event_id == bindparam("wanted_event"),
)

_MANY_SIDES = select(tables.waiting.c.event_id, tables.waiting.c.sides).where(
    tables.waiting.c.pipeline == bindparam("wanted_pipeline"),
    tables.waiting.c.event_id.in_(bindparam("wanted_events", expanding=True)),
)


def foresee(events: Iterable[object], unit: Unit) -> None:
    """Before a batch is handled: lock the monitors it is about, in one order for all workers, and read the waiting sides."""
    asked: dict[PipelineName, set[EventId]] = defaultdict(set)
    for event in events:
        if isinstance(event, PredictionMade | LabelObserved | LabelRetracted):
            asked[event.pipeline].add(event.event_id)
    for pipeline in sorted(asked):
        if unit.get(SqlPipelines).of(pipeline) is not None:
            unit.get(SqlMonitors).of(pipeline)
            unit.get(SqlJoins).fetch(pipeline, asked[pipeline])


def _upsert(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *, replace: bool = True
) -> None:
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    keys = list(table.primary_key.columns)
    if replace:
        values = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
        statement = statement.on_conflict_do_update(index_elements=keys, set_=values)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    connection.execute(statement, rows)


class SqlOverview:
    """Looks without locking: a request never waits for the worker, nor the worker for a request."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def names(self) -> list[PipelineName]:
        with self._database.reading() as connection:
            rows = connection.execute(select(tables.pipelines.c.name).order_by("name"))
            return [PipelineName(row[0]) for row in rows]

    def of(
        self, pipeline: PipelineName
    ) -> tuple[WatchedPipeline, Reference | None, Monitor] | None:
        table = tables.monitors
        with self._database.reading() as connection:
            watched = SqlPipelines(connection).of(pipeline)
            if watched is None:
                return None
            row = connection.execute(
                select(table.c.state).where(table.c.pipeline == pipeline)
            ).first()
            monitor = _MONITOR.decode(row[0]) if row and row[0] else Monitor()
            return watched, SqlReferences(connection).of(pipeline), monitor
