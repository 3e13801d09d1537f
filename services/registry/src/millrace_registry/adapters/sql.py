"""The handlers' ports on SQL, inside one transaction each. On PostgreSQL the pipeline's row is locked by whoever decides
about it, so two processes (one may own the commands, another the trainings) decide one after the other."""

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, exists, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from millrace_contracts.pipeline_file import pipeline_from_json, pipeline_to_json
from millrace_kernel.ids import ModelVersionNumber, PipelineName, RunId
from millrace_kernel.pipeline import Pipeline
from millrace_kernel.time import Instant
from millrace_registry.adapters import tables
from millrace_registry.application.ports import FileOvertakenError
from millrace_registry.domain.events import (
    ApplyPipeline,
    ChallengerStarted,
    Change,
    ModelCardMade,
    ModelPromoted,
    ModelRegistered,
    ModelRolledBack,
    ModelVersion,
    PipelineApplied,
    TrainingCompleted,
    Trial,
    Verdict,
)
from millrace_registry.domain.models import Models, Stage
from millrace_registry.domain.pipelines import EARLIER_KEPT, Applied

_JSON = ("metrics", "champion_metrics")
_BYTES = ("reference_profile", "artifact_signature")
_RENAMED = {"as_of": "as_of_us", "id": "message_id", "at": "registered_at_us"}
_NOT_KEPT = ("evidence",)  # what the gates made of it stands in the verdicts
_COLUMNS = {
    field.name: _RENAMED.get(field.name, field.name)
    for field in fields(TrainingCompleted)
    if field.name not in _NOT_KEPT
}


class SqlPipelines:
    """`Pipelines` on SQL."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._in_force: dict[PipelineName, Pipeline] = {}

    def of(self, name: PipelineName) -> Applied | None:
        row = self._connection.execute(
            select(tables.pipelines.c.digest)
            .where(tables.pipelines.c.name == name)
            .with_for_update()
        ).first()
        if row is None:
            return None
        *earlier, file = self._files(name, EARLIER_KEPT + 1)
        return Applied(file, row.digest, tuple(earlier))

    def in_force(self, name: PipelineName) -> Pipeline | None:
        if name not in self._in_force:
            for file in self._files(name, 1):
                self._in_force[name] = file
        return self._in_force.get(name)

    def put(self, event: PipelineApplied, command: ApplyPipeline) -> None:
        name, version = event.pipeline, event.file.version
        written = self._new(event) if version == 1 else self._next(event)
        if not written:  # between our reading and our writing, where rows are not locked
            raise FileOvertakenError(
                f"{name} is no longer at version {version - 1}; apply the file again"
            )
        row = {
            "pipeline": name,
            "version": version,
            "digest": event.digest,
            "spec_json": pipeline_to_json(event.file),
            "applied_at_us": command.at,
        }
        self._connection.execute(insert(tables.pipeline_versions).values(row))
        self._in_force[name] = event.file

    def _new(self, event: PipelineApplied) -> bool:
        dialect: Any = sqlite if self._connection.dialect.name == "sqlite" else postgresql
        row = {
            "name": event.pipeline,
            "version": 1,
            "digest": event.digest,
            "epoch": 0,
            "line": "[]",
            "paused": False,
        }
        statement = dialect.insert(tables.pipelines).values(row).on_conflict_do_nothing()
        written = self._connection.execute(statement.returning(tables.pipelines.c.name)).first()
        return written is not None

    def _next(self, event: PipelineApplied) -> bool:
        table, version = tables.pipelines, event.file.version
        statement = update(table).where(
            table.c.name == event.pipeline, table.c.version == version - 1
        )
        return (
            self._connection.execute(
                statement.values(version=version, digest=event.digest)
            ).rowcount
            == 1
        )

    def _files(self, name: PipelineName, newest: int) -> list[Pipeline]:
        table = tables.pipeline_versions
        rows = self._connection.execute(
            select(table.c.spec_json)
            .where(table.c.pipeline == name)
            .order_by(table.c.version.desc())
            .limit(newest)
        )
        return [pipeline_from_json(row.spec_json) for row in reversed(rows.all())]


class SqlVersions:
    """`Versions` on SQL."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[PipelineName, Models] = {}

    def of(self, pipeline: PipelineName) -> Models:
        if pipeline not in self._known:
            self._known[pipeline] = self._read(pipeline)
        return self._known[pipeline]

    def put(self, models: Models, event: Change, *, cause: str, at: Instant) -> None:
        before = self.of(models.pipeline)
        if isinstance(event, ModelRegistered):
            self._insert(event.model, cause)
        self._move(before, models, event, cause)
        if isinstance(event, ModelPromoted | ModelRolledBack):
            self._insert_promotion(event, cause, at)
        self._connection.execute(
            update(tables.pipelines)
            .where(tables.pipelines.c.name == models.pipeline)
            .values(
                epoch=models.epoch,
                line=json.dumps(models.line),
                paused=models.paused,
                trial=json.dumps(asdict(models.trial)) if models.trial else None,
                trials=models.trials,
            )
        )
        self._known[models.pipeline] = models

    def model(self, pipeline: PipelineName, version: ModelVersionNumber) -> ModelVersion:
        row = (
            self._connection.execute(select(tables.model_versions).where(*_is(pipeline, version)))
            .mappings()
            .one()
        )
        values = {name: row[column] for name, column in _COLUMNS.items()}
        values |= {name: json.loads(values[name]) for name in _JSON}
        values |= {name: bytes(values[name]) for name in _BYTES}
        return ModelVersion(version, TrainingCompleted(**values))

    def verdicts(self, pipeline: PipelineName, version: ModelVersionNumber) -> tuple[Verdict, ...]:
        row = self._connection.execute(
            select(tables.model_versions.c.verdicts).where(*_is(pipeline, version))
        ).one()
        return tuple(Verdict(**verdict) for verdict in json.loads(row.verdicts))

    def of_run(self, pipeline: PipelineName, run_id: RunId) -> ModelVersionNumber | None:
        table = tables.model_versions
        query = select(table.c.version).where(
            table.c.pipeline == pipeline, table.c.run_id == run_id
        )
        row = self._connection.execute(query).first()
        return None if row is None else ModelVersionNumber(row.version)

    def put_card(
        self, pipeline: PipelineName, version: ModelVersionNumber, card: ModelCardMade
    ) -> None:
        table = tables.model_versions
        values = {"card_uri": card.uri, "card_sha256": card.sha256}
        self._connection.execute(update(table).where(*_is(pipeline, version)).values(values))

    def done(self, pipeline: PipelineName, cause: str) -> bool:
        models, promotions = tables.model_versions.c, tables.promotions.c
        decided = exists().where(models.pipeline == pipeline, models.decided_by == cause)
        promoted = exists().where(promotions.pipeline == pipeline, promotions.cause_id == cause)
        return bool(self._connection.execute(select(or_(decided, promoted))).scalar())

    def _read(self, pipeline: PipelineName) -> Models:
        row = self._connection.execute(
            select(tables.pipelines).where(tables.pipelines.c.name == pipeline).with_for_update()
        ).one()
        table = tables.model_versions
        stages = self._connection.execute(
            select(table.c.version, table.c.stage).where(table.c.pipeline == pipeline)
        )
        return Models(
            pipeline=pipeline,
            stages={ModelVersionNumber(version): Stage(stage) for version, stage in stages},
            epoch=row.epoch,
            line=tuple(json.loads(row.line)),
            paused=row.paused,
            trial=Trial(**json.loads(row.trial)) if row.trial else None,
            trials=row.trials,
        )

    def _insert(self, model: ModelVersion, cause: str) -> None:
        training = model.training
        values: dict[str, Any] = {
            column: getattr(training, name) for name, column in _COLUMNS.items()
        }
        values |= {name: json.dumps(dict(getattr(training, name))) for name in _JSON}
        values |= {"version": model.version, "stage": Stage.REGISTERED.value, "decided_by": cause}
        self._connection.execute(
            insert(tables.model_versions).values(values | {"verdicts": "[]", "reason": ""})
        )

    def _move(self, before: Models, after: Models, event: Change, cause: str) -> None:
        """Write the stages that changed; the champion last, when its place is free."""
        if isinstance(event, ChallengerStarted):  # the stage stays, the share has grown
            statement = update(tables.model_versions).where(*_is(after.pipeline, event.version))
            self._connection.execute(statement.values(reason=event.reason, decided_by=cause))
        for version, stage in _changed(before, after):
            values: dict[str, Any] = {"stage": stage.value}
            if stage is not Stage.FORMER:  # of a champion that gives way, what made it one is kept
                values |= {"reason": getattr(event, "reason", ""), "decided_by": cause}
                if verdicts := getattr(event, "verdicts", ()):
                    values["verdicts"] = json.dumps([asdict(verdict) for verdict in verdicts])
            statement = update(tables.model_versions).where(*_is(after.pipeline, version))
            self._connection.execute(statement.values(values))

    def _insert_promotion(
        self, event: ModelPromoted | ModelRolledBack, cause: str, at: Instant
    ) -> None:
        promoted = isinstance(event, ModelPromoted)
        row = {
            "pipeline": event.pipeline,
            "epoch": event.epoch,
            "kind": "promoted" if promoted else "rolled back",
            "version": event.model.version,
            "previous_version": event.previous,
            "actor": event.approved_by if isinstance(event, ModelPromoted) else event.actor,
            "reason": event.reason,
            "cause_id": cause,
            "at_us": at,
        }
        self._connection.execute(insert(tables.promotions).values(row))


def _is(pipeline: PipelineName, version: ModelVersionNumber) -> tuple[Any, Any]:
    table = tables.model_versions.c
    return table.pipeline == pipeline, table.version == version


def _changed(before: Models, after: Models) -> Iterator[tuple[ModelVersionNumber, Stage]]:
    changed = [
        (version, stage)
        for version, stage in after.stages.items()
        if before.stages.get(version) is not stage
    ]
    yield from sorted(changed, key=lambda change: change[1] is Stage.CHAMPION)
