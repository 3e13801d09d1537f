"""Trials, kept as they end; and what it takes to make a run's artifact again."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trials",
        sa.Column("pipeline", sa.String(63), primary_key=True),
        sa.Column("run_number", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("algorithm", sa.String(64), nullable=False),
        sa.Column("parameters_json", sa.Text, nullable=False),
        sa.Column("metrics_json", sa.Text, nullable=False),
        sa.Column("cpu_seconds", sa.Float(53), nullable=False),
        sa.Column("loss", sa.Float(53), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("kept", sa.Text, nullable=False),
    )
    op.add_column("runs", sa.Column("record_json", sa.Text, nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "record_json")
    op.drop_table("trials")
