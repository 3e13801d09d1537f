"""Kinds of model are named in as many letters as a pipeline file may: import paths and commands are long."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BEFORE, _AFTER = sa.String(64), sa.Text()


def upgrade() -> None:
    _alter(_BEFORE, _AFTER)


def downgrade() -> None:
    _alter(_AFTER, _BEFORE)


def _alter(before: sa.String, after: sa.String) -> None:
    for table, nullable in (("runs", True), ("trials", False)):
        with op.batch_alter_table(table) as batch:
            batch.alter_column(
                "algorithm", existing_type=before, type_=after, existing_nullable=nullable
            )
