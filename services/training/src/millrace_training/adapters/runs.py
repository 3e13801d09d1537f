"""Runs as the runner sees them: what waits, what a run needs, and who carries it out."""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import Connection, Row, func, select

from millrace_bus.sql import Database
from millrace_contracts.message import Cause as BusCause
from millrace_kernel.ids import PipelineName, RunId
from millrace_kernel.pipeline import Pipeline, Trigger
from millrace_kernel.time import DAY, Duration, Instant
from millrace_training.adapters import tables
from millrace_training.adapters.labelled import forget_settled
from millrace_training.adapters.sql import read_files, read_history
from millrace_training.domain.events import Champion, Dataset, Run
from millrace_training.domain.retraining import policy_of
from millrace_training.domain.runs import OPEN

_CORRECTED_LATER_BY = Duration(
    7 * DAY
)  # how much later than they should labels may still be corrected, to be counted exactly


@dataclass(frozen=True, slots=True)
class OpenRun:
    run: Run
    origin: BusCause


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run follows: its version of the file, the versions with the same columns, the champion to beat."""

    pipeline: Pipeline
    versions: frozenset[int]
    champion: Champion | None
    dataset: Dataset | None  # of an attempt that was cut off


class SqlRuns:
    """Synchronous. A run is claimed by one process at a time, of all that work on this database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._claims: dict[RunId, ExitStack] = {}

    def open(self) -> list[OpenRun]:
        """Those that wait or were cut off, in the order in which they were asked for."""
        table = tables.runs
        query = (
            select(table)
            .where(table.c.state.in_([state.value for state in OPEN]))
            .order_by(table.c.open_number)
        )
        with self._database.reading() as connection:
            return [
                OpenRun(_run(row), BusCause.from_text(row.origin))
                for row in connection.execute(query)
            ]

    def claim(self, run: Run) -> bool:
        """Whether the run is open and ours now, until `release`.

        A process that dies gives its claims back with its connections, so nobody has to wait for a lease.
        """
        with ExitStack() as claim:
            if not self._database.is_sqlite:  # a SQLite file has one process
                connection = claim.enter_context(self._database.reading())
                mine = connection.execute(
                    select(func.pg_try_advisory_xact_lock(_key(run)))
                ).scalar_one()
                if not mine:
                    return False
            if all(other.run != run for other in self.open()):
                return False
            self._claims[run.run_id] = claim.pop_all()
            return True

    def release(self, run: Run) -> None:
        if (claim := self._claims.pop(run.run_id, None)) is not None:
            claim.close()

    def needs(self, run: Run) -> Needs:
        with self._database.reading() as connection:
            files = read_files(connection, run.pipeline)
            pipeline = files[run.pipeline_version]
            return Needs(
                pipeline=pipeline,
                versions=policy_of(pipeline, files.values()).versions,
                champion=read_history(connection, run.pipeline).champion,
                dataset=_dataset_of(connection, run),
            )

    def forget_settled(self, run: Run, pipeline: Pipeline) -> None:
        """Housekeeping, now that the rows have been read: see `labelled.forget_settled`."""
        before = Instant(run.as_of - pipeline.label.maturity - _CORRECTED_LATER_BY)
        with self._database.transaction() as connection:
            forget_settled(connection, run.pipeline, before)


def _run(row: Row[tuple[object, ...]]) -> Run:
    return Run(
        pipeline=PipelineName(row.pipeline),
        run_id=RunId(row.run_id),
        number=row.run_number,
        pipeline_version=row.pipeline_version,
        trigger=Trigger(row.trigger),
        cause_id=row.cause_id,
        as_of=Instant(row.as_of_us),
    )


def _dataset_of(connection: Connection, run: Run) -> Dataset | None:
    table = tables.datasets
    query = select(table).where(table.c.pipeline == run.pipeline, table.c.run_number == run.number)
    row = connection.execute(query).first()
    if row is None:
        return None
    return Dataset(
        uri=row.uri,
        sha256=row.sha256,
        size=row.size,
        rows=row.rows,
        vectors_version=row.vectors_version,
        labels_version=row.labels_version,
        first_event_time=Instant(row.first_event_time_us),
        last_event_time=Instant(row.last_event_time_us),
    )


def _key(run: Run) -> int:
    """The run as one of PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.sha256(run.run_id.encode()).digest()[:8], "big", signed=True)
