"""Trials: two more stages of a version, and the trial that runs. SQLite can change a constraint only by making its table
anew, which no other table may point at meanwhile: the promotions are put aside."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BEFORE = "'registered', 'rejected', 'awaiting approval', 'champion', 'former champion', 'retired'"
_AFTER = (
    "'registered', 'rejected', 'queued', 'challenger', 'awaiting approval', 'champion', "
    "'former champion', 'retired'"
)


def upgrade() -> None:
    op.add_column("pipelines", sa.Column("trial", sa.Text, nullable=True))
    op.add_column(
        "pipelines", sa.Column("trials", sa.BigInteger, nullable=False, server_default="0")
    )
    _know(_AFTER)


def downgrade() -> None:
    op.execute(
        "UPDATE model_versions SET stage = 'awaiting approval' WHERE stage IN ('queued', 'challenger')"
    )
    _know(_BEFORE)
    op.drop_column("pipelines", "trials")
    op.drop_column("pipelines", "trial")


def _know(stages: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        _remake(stages)
        return
    op.drop_constraint("model_versions_known_stage", "model_versions", type_="check")
    op.create_check_constraint(
        "model_versions_known_stage", "model_versions", f"stage IN ({stages})"
    )


def _remake(stages: str) -> None:
    connection = op.get_bind()
    promotions = sa.Table("promotions", sa.MetaData(), autoload_with=connection)
    rows = [dict(row) for row in connection.execute(sa.select(promotions)).mappings()]
    op.drop_table("promotions")
    # a reflected table comes without its checks, so the new one has this one alone
    with op.batch_alter_table("model_versions", recreate="always") as batch:
        batch.create_check_constraint("model_versions_known_stage", f"stage IN ({stages})")
    promotions.create(connection)
    if rows:
        connection.execute(sa.insert(promotions), rows)
