"""The first tables: what is watched, what is remembered of it, and the bus's own."""

import sqlalchemy as sa
from alembic import op

from millrace_bus import tables as bus

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    bus.METADATA.create_all(op.get_bind())
    op.create_table(
        "pipelines",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
    )
    op.create_table(
        "champions",
        sa.Column("pipeline", sa.String(200), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("profile", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "monitors",
        sa.Column("pipeline", sa.String(200), primary_key=True),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "waiting",
        sa.Column("pipeline", sa.String(200), primary_key=True),
        sa.Column("event_id", sa.String(1000), primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("sides", sa.LargeBinary, nullable=False),
        sa.Index("waiting_number", "pipeline", "number"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for name in ("waiting", "monitors", "champions", "pipelines"):
        op.drop_table(name)
    bus.METADATA.drop_all(op.get_bind())
