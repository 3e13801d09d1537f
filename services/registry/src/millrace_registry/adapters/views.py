"""`Views` on SQL: queries that never wait for a writer."""

import json
import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, func, select

from millrace_bus.sql import Database
from millrace_contracts.pipeline_file import pipeline_from_json
from millrace_kernel.ids import ModelVersionNumber, PipelineName
from millrace_kernel.time import Instant, rfc3339
from millrace_registry.adapters.tables import (
    model_versions,
    pipeline_versions,
    pipelines,
    promotions,
)
from millrace_registry.application.views import (
    ChallengerView,
    FileView,
    InForce,
    ModelDetail,
    ModelView,
    Numbers,
    PipelineDetail,
    PipelineView,
    PromotionView,
)
from millrace_registry.domain.errors import UnknownPipelineError, UnknownVersionError
from millrace_registry.domain.events import Verdict

_NEWEST_FILE = and_(
    pipeline_versions.c.pipeline == pipelines.c.name,
    pipeline_versions.c.version == pipelines.c.version,
)
_PIPELINES = select(
    pipelines, pipeline_versions.c.spec_json, pipeline_versions.c.applied_at_us
).join(pipeline_versions, _NEWEST_FILE)
_LISTED = [
    column
    for column in model_versions.c
    if column.name not in ("reference_profile", "artifact_signature")
]


class SqlViews:
    """Synchronous, like everything on the database: called in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def in_force(self, name: PipelineName) -> InForce | None:
        with self._database.reading() as connection:
            row = connection.execute(
                select(pipelines.c.version, pipelines.c.digest).where(pipelines.c.name == name)
            ).first()
        return None if row is None else InForce(row.version, row.digest)

    def pipelines(self) -> Sequence[PipelineView]:
        with self._database.reading() as connection:
            rows = connection.execute(_PIPELINES.order_by(pipelines.c.name)).mappings().all()
        return [_pipeline(row) for row in rows]

    def pipeline(self, name: PipelineName) -> PipelineDetail:
        with self._database.reading() as connection:
            row = connection.execute(_PIPELINES.where(pipelines.c.name == name)).mappings().first()
            files = connection.execute(
                select(
                    pipeline_versions.c.version,
                    pipeline_versions.c.digest,
                    pipeline_versions.c.applied_at_us,
                )
                .where(pipeline_versions.c.pipeline == name)
                .order_by(pipeline_versions.c.version.desc())
            ).all()
        if row is None:
            raise UnknownPipelineError(name)
        shown = [FileView(file.version, file.digest, _time(file.applied_at_us)) for file in files]
        return PipelineDetail(_pipeline(row), shown, json.loads(row["spec_json"]))

    def models(self, name: PipelineName, *, before: int | None, limit: int) -> Sequence[ModelView]:
        query = select(*_LISTED).where(model_versions.c.pipeline == name)
        if before is not None:
            query = query.where(model_versions.c.version < before)
        with self._database.reading() as connection:
            _must_exist(connection, name)
            rows = (
                connection.execute(query.order_by(model_versions.c.version.desc()).limit(limit))
                .mappings()
                .all()
            )
        return [_model(row) for row in rows]

    def model(self, name: PipelineName, version: ModelVersionNumber) -> ModelDetail:
        table = model_versions.c
        with self._database.reading() as connection:
            _must_exist(connection, name)
            query = select(*_LISTED).where(table.pipeline == name, table.version == version)
            row = connection.execute(query).mappings().first()
            newest = connection.execute(
                select(func.max(table.version)).where(table.pipeline == name)
            ).scalar()
        if row is None:
            raise UnknownVersionError(name, version, newest or 0)
        return _model_detail(row)

    def promotions(
        self, name: PipelineName, *, before: int | None, limit: int
    ) -> Sequence[PromotionView]:
        query = select(promotions).where(promotions.c.pipeline == name)
        if before is not None:
            query = query.where(promotions.c.epoch < before)
        with self._database.reading() as connection:
            _must_exist(connection, name)
            rows = (
                connection.execute(query.order_by(promotions.c.epoch.desc()).limit(limit))
                .mappings()
                .all()
            )
        return [_promotion(row) for row in rows]


def _must_exist(connection: Connection, name: PipelineName) -> None:
    if connection.execute(select(pipelines.c.name).where(pipelines.c.name == name)).first() is None:
        raise UnknownPipelineError(name)


def _pipeline(row: RowMapping) -> PipelineView:
    file, line = pipeline_from_json(row["spec_json"]), json.loads(row["line"])
    return PipelineView(
        name=row["name"],
        version=row["version"],
        owner=file.owner,
        description=file.description,
        strategy=file.promotion.strategy.value,
        champion=line[-1] if line else None,
        epoch=row["epoch"],
        paused=row["paused"],
        challenger=_challenger(row["trial"]),
        applied_at=_time(row["applied_at_us"]),
    )


def _challenger(text: str | None) -> ChallengerView | None:
    if text is None:
        return None
    trial = json.loads(text)
    return ChallengerView(
        trial["version"], trial["number"], trial["step"], trial["share"], _time(trial["started"])
    )


def _model(row: RowMapping) -> ModelView:
    return ModelView(
        pipeline=row["pipeline"],
        version=row["version"],
        stage=row["stage"],
        reason=row["reason"],
        algorithm=row["algorithm"],
        run_id=row["run_id"],
        trigger=row["trigger"],
        metrics=_numbers(row["metrics"]),
        registered_at=_time(row["registered_at_us"]),
    )


def _model_detail(row: RowMapping) -> ModelDetail:
    as_they_are = (
        "pipeline_version", "run_number", "cause_id", "artifact_uri", "artifact_sha256", "dataset_uri",
        "dataset_sha256", "train_rows", "holdout_rows", "champion_version", "signing_key_id",
        "card_uri", "card_sha256",
    )  # fmt: skip
    return ModelDetail(
        model=_model(row),
        verdicts=[Verdict(**verdict) for verdict in json.loads(row["verdicts"])],
        parameters=_parameters(row["parameters_json"]),
        champion_metrics=_numbers(row["champion_metrics"]),
        better_probability=_number(row["better_probability"]),
        fit_seconds=_number(row["fit_seconds"]),
        cpu_seconds=_number(row["cpu_seconds"]),
        as_of=_time(row["as_of_us"]),
        **{name: row[name] for name in as_they_are},
    )


def _promotion(row: RowMapping) -> PromotionView:
    as_they_are = ("epoch", "kind", "version", "previous_version", "actor", "reason", "cause_id")
    return PromotionView(**{name: row[name] for name in as_they_are}, at=_time(row["at_us"]))


def _parameters(text: str) -> Any:  # noqa: ANN401  JSON that another service wrote
    try:
        return json.loads(text, parse_constant=lambda _: None) if text else {}
    except ValueError:
        return text


def _numbers(text: str) -> Numbers:
    return {name: _number(value) for name, value in json.loads(text).items()}


def _number(value: float) -> float | None:
    """JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else None


def _time(at: int) -> str:
    return rfc3339(Instant(at))
