"""What people may look at, read from SQL without locking anything."""

from typing import Any

import msgspec
from sqlalchemy import Column, Row, Table, func, select

from millrace_bus.sql import Database
from millrace_kernel.ids import PipelineName
from millrace_kernel.time import Instant, rfc3339
from millrace_training.adapters import tables
from millrace_training.adapters.sql.books import read_files, read_history
from millrace_training.application.overview import (
    CostsView,
    DatasetView,
    DecisionView,
    RunDetail,
    RunView,
    StatusView,
    TrialView,
)
from millrace_training.domain.costs import NO_PRICES, Cost, Prices, Spent, account_of
from millrace_training.domain.policies import policy_of
from millrace_training.domain.retraining import first_model_after


class SqlOverview:
    """`application.ports.Overview`."""

    def __init__(self, database: Database, prices: Prices = NO_PRICES) -> None:
        self._database = database
        self._prices = prices

    def pipelines(self) -> list[PipelineName]:
        table = tables.pipelines
        query = select(table.c.pipeline).where(table.c.version > 0).order_by(table.c.pipeline)
        with self._database.reading() as connection:
            return [PipelineName(name) for name in connection.execute(query).scalars()]

    def status(self, name: PipelineName) -> StatusView | None:
        table, rows = tables.pipelines, tables.labelled_rows
        with self._database.reading() as connection:
            version = connection.execute(
                select(table.c.version).where(table.c.pipeline == name)
            ).scalar()
            if not version:
                return None
            files, history = read_files(connection, name), read_history(connection, name)
            policy = policy_of(files[version], files.values(), self._prices)
            counted = select(func.sum(rows.c.rows)).where(
                rows.c.pipeline == name, rows.c.version.in_(policy.versions)
            )
            labelled = connection.execute(counted).scalar()
        return StatusView(
            version=version,
            clock=rfc3339(history.clock),
            paused=history.paused,
            labelled_rows=int(labelled or 0),
            first_model_after=first_model_after(policy, history),
            running=history.going.number if history.going else None,
            last_requested=_time(history.last_requested),
            schedule_due=_time(history.schedule_due),
            put_off=[cause.because for cause in history.pending],
            champion_version=history.champion.version if history.champion else None,
        )

    def runs(self, name: PipelineName, most: int) -> list[RunView]:
        return [
            _run(row) for row in self._newest(tables.runs, tables.runs.c.run_number, name, most)
        ]

    def run(self, name: PipelineName, number: int) -> RunDetail | None:
        runs, datasets, trials = (
            select(table).where(table.c.pipeline == name, table.c.run_number == number)
            for table in (tables.runs, tables.datasets, tables.trials)
        )
        with self._database.reading() as connection:
            row = connection.execute(runs).first()
            dataset = connection.execute(datasets).first()
            tried = connection.execute(trials.order_by(tables.trials.c.number)).all()
        if row is None:
            return None
        return RunDetail(
            run=_run(row),
            dataset=None if dataset is None else _dataset(dataset),
            record=msgspec.json.decode(row.record_json) if row.record_json else None,
            trials=[_trial(each) for each in tried],
        )

    def datasets(self, name: PipelineName, most: int) -> list[DatasetView]:
        return [
            _dataset(row)
            for row in self._newest(tables.datasets, tables.datasets.c.run_number, name, most)
        ]

    def decisions(self, name: PipelineName, most: int) -> list[DecisionView]:
        return [
            _decision(row)
            for row in self._newest(tables.decisions, tables.decisions.c.number, name, most)
        ]

    def costs(self, name: PipelineName) -> CostsView:
        table = tables.runs
        asked = (
            table.c.cpu_seconds,
            table.c.wall_seconds,
            table.c.peak_memory_bytes,
            table.c.joules,
            table.c.points,
            table.c.promoted,
        )
        query = select(*asked).where(table.c.pipeline == name, table.c.cpu_seconds.is_not(None))
        with self._database.reading() as connection:
            account = account_of(map(_spent, connection.execute(query)), self._prices)
        return CostsView(
            pipeline=name,
            runs=account.runs,
            promotions=account.promotions,
            cpu_seconds=account.cost.cpu_seconds,
            wall_seconds=account.cost.wall_seconds,
            peak_memory_bytes=account.cost.peak_memory_bytes,
            joules=account.cost.joules,
            money=account.money,
            currency=self._prices.currency,
            points=account.points,
            cpu_seconds_per_promotion=account.cpu_seconds_per_promotion,
            money_per_promotion=account.money_per_promotion,
            cpu_seconds_per_point=account.cpu_seconds_per_point,
            money_per_point=account.money_per_point,
        )

    def _newest(
        self, table: Table, by: Column[Any], name: PipelineName, most: int
    ) -> list[Row[Any]]:
        query = select(table).where(table.c.pipeline == name).order_by(by.desc()).limit(most)
        with self._database.reading() as connection:
            return list(connection.execute(query))


def _spent(row: Row[Any]) -> Spent:
    cost = Cost(row.cpu_seconds, row.wall_seconds or 0.0, row.peak_memory_bytes or 0, row.joules)
    return Spent(cost, row.promoted, row.points)


def _run(row: Row[Any]) -> RunView:
    return RunView(
        run_id=row.run_id,
        run_number=row.run_number,
        pipeline_version=row.pipeline_version,
        trigger=row.trigger,
        cause_id=row.cause_id,
        as_of=rfc3339(Instant(row.as_of_us)),
        state=row.state,
        reason=row.reason,
        algorithm=row.algorithm,
        metrics=msgspec.json.decode(row.metrics_json, type=dict[str, float])
        if row.metrics_json
        else {},
        artifact_uri=row.artifact_uri,
        artifact_sha256=row.artifact_sha256,
        train_rows=row.train_rows,
        holdout_rows=row.holdout_rows,
        cpu_seconds=row.cpu_seconds,
        wall_seconds=row.wall_seconds,
        peak_memory_bytes=row.peak_memory_bytes,
        joules=row.joules,
        points=row.points,
        promoted=row.promoted,
        card_uri=row.card_uri,
        card_sha256=row.card_sha256,
    )


def _trial(row: Row[Any]) -> TrialView:
    return TrialView(
        number=row.number,
        algorithm=row.algorithm,
        parameters=msgspec.json.decode(row.parameters_json),
        metrics=msgspec.json.decode(row.metrics_json, type=dict[str, float]),
        loss=row.loss,
        state=row.state,
        cpu_seconds=row.cpu_seconds,
    )


def _dataset(row: Row[Any]) -> DatasetView:
    return DatasetView(
        run_number=row.run_number,
        uri=row.uri,
        sha256=row.sha256,
        size=row.size,
        rows=row.rows,
        vectors_version=row.vectors_version,
        labels_version=row.labels_version,
        as_of=rfc3339(Instant(row.as_of_us)),
        first_event_time=rfc3339(Instant(row.first_event_time_us)),
        last_event_time=rfc3339(Instant(row.last_event_time_us)),
    )


def _decision(row: Row[Any]) -> DecisionView:
    return DecisionView(
        at=rfc3339(Instant(row.at_us)),
        trigger=row.trigger,
        cause_id=row.cause_id,
        requested=row.reason is None,
        reason=row.reason,
        run_number=row.run_number,
        detail=row.detail,
    )


def _time(at: Instant | None) -> str | None:
    return None if at is None else rfc3339(at)
