"""Runs as the runner sees them: what waits, what a run needs, and who carries it out."""

from dataclasses import dataclass

from sqlalchemy import Connection, Row, func, select

from millrace_bus.sql import Database
from millrace_contracts.message import Cause as BusCause
from millrace_kernel.ids import PipelineName, RunId
from millrace_kernel.pipeline import Pipeline, Trigger
from millrace_kernel.time import DAY, Duration, Instant
from millrace_training.adapters import tables
from millrace_training.adapters.sql.books import read_files, read_history
from millrace_training.adapters.sql.claims import Claims
from millrace_training.adapters.sql.labelled import forget_settled
from millrace_training.domain.changes import change_to_learn_from
from millrace_training.domain.events import Champion, Dataset, Run
from millrace_training.domain.policies import policy_of
from millrace_training.domain.queue import Traffic, Waiting
from millrace_training.domain.runs import OPEN, RunState

_SEARCHES, _OF_EACH = 3, 2  # what a search is started with: so many of the best of so many
_LATELY = 500  # runs of all pipelines together whose cost counts when several wait
_CORRECTED_LATER_BY = Duration(
    7 * DAY
)  # how much later than they should labels may still be corrected, to be counted exactly


@dataclass(frozen=True, slots=True)
class OpenRun:
    """`number` is the request's: it grows with every run that is asked for. `cut_off`: it had begun before."""

    run: Run
    origin: BusCause
    number: int
    cut_off: bool

    @property
    def waiting(self) -> Waiting:
        """As the queue sees it."""
        run = self.run
        return Waiting(run.run_id, run.pipeline, run.trigger, self.number, self.cut_off)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run follows: its version of the file, the versions with the same columns, the champion to beat."""

    pipeline: Pipeline
    versions: frozenset[int]
    champion: Champion | None
    dataset: Dataset | None  # of an attempt that was cut off
    finished: tuple[str, ...] = ()  # its trials, as they were kept (`Trial.kept`)
    earlier: tuple[str, ...] = ()  # what won in the pipeline's last searches, newest first
    since: Instant | None = None  # event time at which a change began that it may learn from


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run that ended with an artifact, and what was recorded of it. `needs` is as of now, but for the files."""

    run: Run
    needs: Needs
    dataset: Dataset
    artifact_uri: str
    artifact_sha256: str
    record_json: str  # empty: of a run from before anything was recorded


class SqlRuns:
    """Synchronous. A run is claimed by one process at a time, of all that work on this database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._claims = Claims(database)

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
                OpenRun(
                    _run(row),
                    BusCause.from_text(row.origin),
                    row.open_number,
                    row.state == RunState.STARTED.value,
                )
                for row in connection.execute(query)
            ]

    def traffic(self, since: int) -> Traffic:
        """The runs numbered above `since` that were taken before, and what each pipeline's runs cost lately."""
        table = tables.runs
        taken = select(table.c.open_number).where(
            table.c.state != RunState.REQUESTED.value, table.c.open_number > since
        )
        newest = (
            select(table.c.pipeline, table.c.cpu_seconds)
            .where(table.c.state.in_([RunState.FINISHED.value, RunState.FAILED.value]))
            .order_by(table.c.open_number.desc())
            .limit(_LATELY)
            .subquery()
        )
        spent = select(newest.c.pipeline, func.sum(newest.c.cpu_seconds).label("seconds")).group_by(
            newest.c.pipeline
        )
        with self._database.reading() as connection:
            numbers = connection.execute(taken).scalars().all()
            seconds = {
                PipelineName(row.pipeline): float(row.seconds or 0.0)
                for row in connection.execute(spent)
            }
        return Traffic(numbers, seconds)

    def claim(self, run: Run) -> bool:
        """Whether the run is open and ours now, until `release`."""
        if not self._claims.take(run.run_id):
            return False
        if any(other.run == run for other in self.open()):
            return True
        self._claims.give_back(run.run_id)
        return False

    def release(self, run: Run) -> None:
        self._claims.give_back(run.run_id)

    def needs(self, run: Run) -> Needs:
        with self._database.reading() as connection:
            files = read_files(connection, run.pipeline)
            pipeline = files[run.pipeline_version]
            history = read_history(connection, run.pipeline)
            return Needs(
                pipeline=pipeline,
                versions=policy_of(pipeline, files.values()).versions,
                champion=history.champion,
                dataset=_dataset_of(connection, run),
                finished=_finished(connection, run),
                earlier=_earlier(connection, run),
                since=change_to_learn_from(history.change, run.trigger, pipeline.retraining.on),
            )

    def recorded(self, pipeline: PipelineName, run_id: RunId) -> Recorded | None:
        """None for a run that is not known here, or has no artifact."""
        table = tables.runs
        query = select(table).where(table.c.pipeline == pipeline, table.c.run_id == run_id)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None or row.artifact_sha256 is None:
            return None
        run = _run(row)
        needs = self.needs(run)
        assert needs.dataset is not None, "an artifact without a dataset"
        return Recorded(
            run, needs, needs.dataset, row.artifact_uri, row.artifact_sha256, row.record_json or ""
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


def _finished(connection: Connection, run: Run) -> tuple[str, ...]:
    table = tables.trials
    query = (
        select(table.c.kept)
        .where(table.c.pipeline == run.pipeline, table.c.run_number == run.number)
        .order_by(table.c.number)
    )
    return tuple(connection.execute(query).scalars())


def _earlier(connection: Connection, run: Run) -> tuple[str, ...]:
    """The best trials of the last searches: losses of different runs are over different rows, so each ranks its own."""
    table = tables.trials
    older = (table.c.pipeline == run.pipeline, table.c.run_number < run.number)
    numbers = (
        select(table.c.run_number)
        .where(*older)
        .distinct()
        .order_by(table.c.run_number.desc())
        .limit(_SEARCHES)
    )
    found: list[str] = []
    for number in connection.execute(numbers).scalars().all():
        best = (
            select(table.c.kept)
            .where(
                table.c.pipeline == run.pipeline,
                table.c.run_number == number,
                table.c.state == "complete",
            )
            .order_by(table.c.loss, table.c.number)
            .limit(_OF_EACH)
        )
        found += connection.execute(best).scalars()
    return tuple(found)
