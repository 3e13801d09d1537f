"""What the handlers keep, in SQL: read once in a transaction, written in bulk before it ends."""

from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from millrace_contracts.message import Cause as BusCause
from millrace_contracts.pipeline_file import pipeline_from_json, pipeline_to_json
from millrace_kernel.ids import PipelineName
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant
from millrace_training.adapters import tables
from millrace_training.adapters.calendar import next_due
from millrace_training.adapters.sql.labelled import SqlLabelledRows
from millrace_training.adapters.sql.staging import SqlStaging, Tally
from millrace_training.application.ports import Origin, UnknownPipelineError
from millrace_training.domain.costs import NO_PRICES, Cost, Prices
from millrace_training.domain.events import (
    Candidate,
    CardFailed,
    CardMade,
    CardOutcome,
    Decision,
    ModelPromoted,
    PipelineApplied,
    RetrainRequested,
    RetrainSkipped,
    Run,
    RunFailed,
    RunFinished,
    RunOutcome,
    RunSkipped,
    RunStarted,
    RunTried,
)
from millrace_training.domain.policies import Policy, policy_of
from millrace_training.domain.retraining import NO_HISTORY, History
from millrace_training.domain.runs import RunState

_HISTORY = msgspec.json.Decoder(History)

parse_file = lru_cache(maxsize=256)(pipeline_from_json)  # the same few files, in every transaction


class SqlPipelines:
    """`application.ports.Pipelines`. The first look at a pipeline locks its row until the transaction ends, so that two
    workers on one database take turns with all that is kept for it."""

    def __init__(self, connection: Connection, prices: Prices = NO_PRICES) -> None:
        """`prices`: what the files' budgets in money are counted at."""
        self._connection = connection
        self._prices = prices
        self._rows: dict[PipelineName, Row[Any] | None] = {}
        self._policies: dict[PipelineName, Policy] = {}
        self._histories: dict[PipelineName, History] = {}
        self._versions: dict[PipelineName, int] = {}
        self._changed: set[PipelineName] = set()

    def policy(self, name: PipelineName) -> Policy:
        policy = self._policies.get(name)
        if policy is None:
            policy = self._policies[name] = self._read_policy(name)
        return policy

    def _read_policy(self, name: PipelineName) -> Policy:
        version = self._version(name)
        if not version:
            raise UnknownPipelineError(
                f"pipeline {name} has not been applied, as far as is known here"
            )
        known = read_files(self._connection, name)
        return policy_of(known[version], known.values(), self._prices)

    def knows(self, name: PipelineName) -> bool:
        return self._version(name) > 0

    def apply(self, event: PipelineApplied) -> None:
        name, newest = event.pipeline, event.versions[-1].version
        rows = [
            {"pipeline": name, "version": pipeline.version, "spec_json": pipeline_to_json(pipeline)}
            for pipeline in event.versions
        ]
        self._connection.execute(tables.upsert(self._connection, tables.pipeline_files), rows)
        self._versions[name] = max(newest, self._version(name))
        self._policies.pop(name, None)
        self._changed.add(name)

    def history(self, name: PipelineName) -> History:
        history = self._histories.get(name)
        if history is None:
            row = self._row(name)
            history = NO_HISTORY if row is None else _HISTORY.decode(row.history)
            self._histories[name] = history
        return history

    def put(self, name: PipelineName, history: History) -> None:
        self._histories[name] = history
        self._changed.add(name)

    def flush(self) -> None:
        rows = [
            {
                "pipeline": name,
                "version": self._version(name),
                "history": msgspec.json.encode(self.history(name)).decode(),
            }
            for name in sorted(self._changed)
        ]
        if rows:
            self._connection.execute(tables.upsert(self._connection, tables.pipelines), rows)
        self._changed.clear()

    def _version(self, name: PipelineName) -> int:
        version = self._versions.get(name)
        if version is None:
            row = self._row(name)
            version = self._versions[name] = 0 if row is None else row.version
        return version

    def _row(self, name: PipelineName) -> Row[Any] | None:
        if name not in self._rows:
            table = tables.pipelines
            query = select(table.c.version, table.c.history).where(table.c.pipeline == name)
            self._rows[name] = self._connection.execute(query.with_for_update()).first()
        return self._rows[name]


def read_files(connection: Connection, name: PipelineName) -> dict[int, Pipeline]:
    """Every version of a pipeline's file that was heard of."""
    table = tables.pipeline_files
    query = select(table.c.version, table.c.spec_json).where(table.c.pipeline == name)
    return {row.version: parse_file(row.spec_json) for row in connection.execute(query)}


def read_history(connection: Connection, name: PipelineName) -> History:
    query = select(tables.pipelines.c.history).where(tables.pipelines.c.pipeline == name)
    row = connection.execute(query).first()
    return NO_HISTORY if row is None else _HISTORY.decode(row.history)


class SqlJournal:
    """`application.ports.Journal`. Decisions are few, so each is written at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def decided(self, decision: Decision, at: Instant, origin: Origin) -> None:
        match decision:
            case RetrainRequested(run=run):
                about: dict[str, Any] = {
                    "pipeline": run.pipeline,
                    "run_number": run.number,
                    "reason": None,
                }
                self._add(run, self._write(decision, about, at), origin)
            case RetrainSkipped(pipeline=pipeline, reason=reason):
                about = {"pipeline": pipeline, "run_number": None, "reason": reason.value}
                self._write(decision, about, at)

    def _write(self, decision: Decision, about: dict[str, Any], at: Instant) -> int:
        cause = decision.cause
        row = {
            "at_us": at,
            "trigger": cause.trigger.value,
            "cause_id": cause.id,
            "detail": decision.detail,
        }
        numbered = insert(tables.decisions).returning(tables.decisions.c.number)
        return int(self._connection.execute(numbered, about | row).scalar_one())

    def _add(self, run: Run, number: int, origin: Origin) -> None:
        assert isinstance(origin, BusCause)
        self._connection.execute(
            insert(tables.runs),
            {
                "pipeline": run.pipeline,
                "run_number": run.number,
                "run_id": run.run_id,
                "pipeline_version": run.pipeline_version,
                "trigger": run.trigger.value,
                "cause_id": run.cause_id,
                "as_of_us": run.as_of,
                "state": RunState.REQUESTED.value,
                "open_number": number,
                "origin": origin.to_text(),
            },
        )

    def started(self, event: RunStarted) -> None:
        run, dataset = event.run, event.dataset
        self._close(run, {"state": RunState.STARTED.value})
        self._connection.execute(
            insert(tables.datasets),
            {
                "pipeline": run.pipeline,
                "run_number": run.number,
                "uri": dataset.uri,
                "sha256": dataset.sha256,
                "size": dataset.size,
                "rows": dataset.rows,
                "vectors_version": dataset.vectors_version,
                "labels_version": dataset.labels_version,
                "as_of_us": run.as_of,
                "first_event_time_us": dataset.first_event_time,
                "last_event_time_us": dataset.last_event_time,
            },
        )

    def tried(self, event: RunTried) -> None:
        run, trial = event.run, event.trial
        self._connection.execute(
            insert(tables.trials),
            {
                "pipeline": run.pipeline,
                "run_number": run.number,
                "number": trial.number,
                "algorithm": trial.algorithm,
                "parameters_json": trial.parameters_json,
                "metrics_json": msgspec.json.encode(trial.metrics, order="sorted").decode(),
                "cpu_seconds": trial.cpu_seconds,
                "loss": trial.loss,
                "state": trial.state,
                "kept": trial.kept,
            },
        )

    def ended(self, outcome: RunOutcome) -> None:
        match outcome:
            case RunFinished(run=run, candidate=candidate):
                self._close(run, {"state": RunState.FINISHED.value} | _result(candidate))
            case RunFailed(run=run, reason=reason, cpu_seconds=cpu_seconds, cost=cost):
                failed = {"state": RunState.FAILED.value, "reason": reason}
                self._close(run, failed | {"cpu_seconds": cpu_seconds} | _cost(cost))
            case RunSkipped(run=run, rows=rows, needed=needed):
                reason = f"{rows:,} labelled rows were known by then, and {needed:,} are needed"
                self._close(run, {"state": RunState.SKIPPED.value, "reason": reason})

    def carded(self, outcome: CardOutcome) -> None:
        run, table = outcome.run, tables.runs
        query = select(
            table.c.cpu_seconds,
            table.c.wall_seconds,
            table.c.peak_memory_bytes,
            table.c.joules,
            table.c.reason,
        ).where(table.c.pipeline == run.pipeline, table.c.run_number == run.number)
        row = self._connection.execute(query.with_for_update()).one()
        wall, peak = row.wall_seconds or 0.0, row.peak_memory_bytes or 0
        before = Cost(row.cpu_seconds, wall, peak, row.joules)
        cost = before + outcome.cost
        values = {"card_due": None, "cpu_seconds": cost.cpu_seconds} | _cost(cost)
        match outcome:
            case CardMade(uri=uri, sha256=sha256):
                values |= {"card_uri": uri, "card_sha256": sha256}
            case CardFailed(reason=reason):
                values["reason"] = "; ".join(filter(None, (row.reason, reason)))
        self._close(run, values)

    def promoted(self, event: ModelPromoted) -> None:
        table = tables.runs
        where = (table.c.pipeline == event.pipeline, table.c.run_id == event.champion.run_id)
        self._connection.execute(update(table).where(*where).values(promoted=True))

    def _close(self, run: Run, values: dict[str, Any]) -> None:
        table = tables.runs
        where = (table.c.pipeline == run.pipeline, table.c.run_number == run.number)
        self._connection.execute(update(table).where(*where).values(**values))


def _result(candidate: Candidate) -> dict[str, Any]:
    return {
        "algorithm": candidate.algorithm,
        "metrics_json": msgspec.json.encode(candidate.metrics, order="sorted").decode(),
        "artifact_uri": candidate.artifact_uri,
        "artifact_sha256": candidate.artifact_sha256,
        "train_rows": candidate.train_rows,
        "holdout_rows": candidate.holdout_rows,
        "cpu_seconds": candidate.cpu_seconds,
        "reason": "; ".join(candidate.notes) or None,
        "record_json": candidate.record_json or None,
        "points": candidate.points,
        "card_due": candidate.card_due or None,
    } | _cost(candidate.cost)


def _cost(cost: Cost | None) -> dict[str, Any]:
    if cost is None:
        return {}
    return {
        "wall_seconds": cost.wall_seconds,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "joules": cost.joules,
    }


class SqlBooks:
    """`application.ports.Books`: all that is kept in one transaction."""

    next_due = staticmethod(next_due)

    def __init__(self, connection: Connection, tally: Tally, prices: Prices = NO_PRICES) -> None:
        self.pipelines = SqlPipelines(connection, prices)
        self.lake = SqlStaging(connection, tally)
        self.labelled = SqlLabelledRows(connection)
        self.journal = SqlJournal(connection)

    def flush(self) -> None:
        self.lake.flush()
        self.labelled.flush()
        self.pipelines.flush()
