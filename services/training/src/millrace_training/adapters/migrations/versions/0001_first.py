"""The first schema."""

import sqlalchemy as sa
from alembic import op

from millrace_bus import tables as bus

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
NAME = sa.String(63)


def upgrade() -> None:
    bus.METADATA.create_all(op.get_bind())
    _pipelines()
    _decisions_and_runs()
    _staging()
    _counts()


def _pipelines() -> None:
    op.create_table(
        "pipelines",
        sa.Column("pipeline", NAME, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("history", sa.Text, nullable=False),
    )
    op.create_table(
        "pipeline_files",
        sa.Column("pipeline", NAME, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("spec_json", sa.Text, nullable=False),
    )


def _decisions_and_runs() -> None:
    op.create_table(
        "decisions",
        sa.Column("number", ROW_NUMBER, primary_key=True, autoincrement=True),
        sa.Column("pipeline", NAME, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("run_number", sa.Integer, nullable=True),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Index("decisions_of_pipeline", "pipeline", "number"),
    )
    op.create_table(
        "runs",
        sa.Column("pipeline", NAME, primary_key=True),
        sa.Column("run_number", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(64), nullable=False, unique=True),
        sa.Column("pipeline_version", sa.Integer, nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.Column("as_of_us", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("open_number", ROW_NUMBER, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=True),
        sa.Column("algorithm", sa.String(64), nullable=True),
        sa.Column("metrics_json", sa.Text, nullable=True),
        sa.Column("artifact_uri", sa.Text, nullable=True),
        sa.Column("artifact_sha256", sa.String(64), nullable=True),
        sa.Column("train_rows", sa.BigInteger, nullable=True),
        sa.Column("holdout_rows", sa.BigInteger, nullable=True),
        sa.Column("cpu_seconds", sa.Float, nullable=True),
        sa.Index("runs_by_state", "state", "open_number"),
    )
    op.create_table(
        "datasets",
        sa.Column("pipeline", NAME, primary_key=True),
        sa.Column("run_number", sa.Integer, primary_key=True),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("vectors_version", sa.BigInteger, nullable=False),
        sa.Column("labels_version", sa.BigInteger, nullable=False),
        sa.Column("as_of_us", sa.BigInteger, nullable=False),
        sa.Column("first_event_time_us", sa.BigInteger, nullable=False),
        sa.Column("last_event_time_us", sa.BigInteger, nullable=False),
    )


def _staging() -> None:
    op.create_table(
        "staged_vectors",
        *_place(),
        sa.Column("pipeline", NAME, nullable=False),
        sa.Column("pipeline_version", sa.Integer, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("entity", sa.String(), nullable=False),
        sa.Column("event_time_us", sa.BigInteger, nullable=False),
        sa.Column("recorded_at_us", sa.BigInteger, nullable=False),
        sa.Column("numbers", sa.LargeBinary, nullable=False),
        sa.Column("categories", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "staged_labels",
        *_place(),
        sa.Column("pipeline", NAME, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("known_at_us", sa.BigInteger, nullable=False),
        sa.Column("recorded_at_us", sa.BigInteger, nullable=False),
        sa.Column("retracted", sa.Boolean, nullable=False),
        sa.Column("number", sa.Float(53), nullable=True),
        sa.Column("text", sa.Text, nullable=True),
        sqlite_with_rowid=False,
    )


def _place() -> tuple[sa.Column[str], sa.Column[int], sa.Column[int]]:
    return (
        sa.Column("topic", sa.String(249), primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
    )


def _counts() -> None:
    op.create_table(
        "sides",
        sa.Column("pipeline", NAME, primary_key=True),
        sa.Column("event_id", sa.String(), primary_key=True),
        sa.Column("version", sa.Integer, nullable=True),
        sa.Column("known_at_us", sa.BigInteger, nullable=True),
        sa.Column("labelled", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "labelled_rows",
        sa.Column("pipeline", NAME, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("rows", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for name in (
        "labelled_rows",
        "sides",
        "staged_labels",
        "staged_vectors",
        "datasets",
        "runs",
        "decisions",
        "pipeline_files",
        "pipelines",
    ):
        op.drop_table(name)
    bus.METADATA.drop_all(op.get_bind())
