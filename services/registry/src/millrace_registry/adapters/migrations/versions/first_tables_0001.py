"""The first tables: pipelines, model versions, promotions, and the bus's own."""

import sqlalchemy as sa
from alembic import op

from millrace_bus import tables as bus

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NAME, _ID = sa.String(63), sa.String(400)
_CHAMPIONS = sa.text("stage = 'champion'")
_STAGES = "stage IN ('registered', 'rejected', 'awaiting approval', 'champion', 'former champion', 'retired')"


def upgrade() -> None:
    bus.METADATA.create_all(op.get_bind())
    _create_pipelines()
    _create_model_versions()
    _create_promotions()


def downgrade() -> None:
    for table in ("promotions", "model_versions", "pipeline_versions", "pipelines"):
        op.drop_table(table)
    bus.METADATA.drop_all(op.get_bind())


def _create_pipelines() -> None:
    op.create_table(
        "pipelines",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
    )
    op.create_table(
        "pipeline_versions",
        sa.Column("pipeline", _NAME, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("spec_json", sa.Text, nullable=False),
        sa.Column("applied_at_us", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["pipeline"], ["pipelines.name"], name="pipeline_versions_of_pipeline"
        ),
    )


def _create_model_versions() -> None:
    op.create_table(
        "model_versions",
        sa.Column("pipeline", _NAME, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("stage", sa.String(20), nullable=False),
        sa.Column("pipeline_version", sa.BigInteger, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("run_number", sa.BigInteger, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("cause_id", _ID, nullable=False),
        sa.Column("algorithm", sa.Text, nullable=False),
        sa.Column("parameters_json", sa.Text, nullable=False),
        sa.Column("artifact_uri", sa.Text, nullable=False),
        sa.Column("artifact_sha256", sa.Text, nullable=False),
        sa.Column("dataset_uri", sa.Text, nullable=False),
        sa.Column("dataset_sha256", sa.Text, nullable=False),
        sa.Column("train_rows", sa.BigInteger, nullable=False),
        sa.Column("holdout_rows", sa.BigInteger, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("champion_metrics", sa.Text, nullable=False),
        sa.Column("champion_version", sa.BigInteger, nullable=False),
        sa.Column("better_probability", sa.Double, nullable=False),
        sa.Column("reference_profile", sa.LargeBinary, nullable=False),
        sa.Column("fit_seconds", sa.Double, nullable=False),
        sa.Column("cpu_seconds", sa.Double, nullable=False),
        sa.Column("as_of_us", sa.BigInteger, nullable=False),
        sa.Column("message_id", _ID, nullable=False),
        sa.Column("registered_at_us", sa.BigInteger, nullable=False),
        sa.Column("verdicts", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("decided_by", _ID, nullable=False),
        sa.UniqueConstraint("pipeline", "run_id", name="model_versions_once_per_run"),
        sa.ForeignKeyConstraint(
            ["pipeline"], ["pipelines.name"], name="model_versions_of_pipeline"
        ),
        sa.CheckConstraint(_STAGES, name="model_versions_known_stage"),
    )
    op.create_index(
        "model_versions_one_champion",
        "model_versions",
        ["pipeline"],
        unique=True,
        sqlite_where=_CHAMPIONS,
        postgresql_where=_CHAMPIONS,
    )
    op.create_index("model_versions_by_decision", "model_versions", ["pipeline", "decided_by"])


def _create_promotions() -> None:
    op.create_table(
        "promotions",
        sa.Column("pipeline", _NAME, primary_key=True),
        sa.Column("epoch", sa.BigInteger, primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("previous_version", sa.Integer, nullable=False),
        sa.Column("actor", sa.Text, nullable=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("cause_id", _ID, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("pipeline", "cause_id", name="promotions_once_per_cause"),
        sa.ForeignKeyConstraint(
            ["pipeline", "version"],
            ["model_versions.pipeline", "model_versions.version"],
            name="promotions_of_version",
        ),
    )
