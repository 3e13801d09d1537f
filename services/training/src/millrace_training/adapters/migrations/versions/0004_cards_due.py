"""What a model card is to be made from, until it is made: the run is announced first."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("card_due", sa.LargeBinary(), nullable=True))
    op.create_index(
        "runs_with_cards_due",
        "runs",
        ["pipeline", "run_number"],
        sqlite_where=sa.text("card_due IS NOT NULL"),
        postgresql_where=sa.text("card_due IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("runs_with_cards_due", "runs")
    op.drop_column("runs", "card_due")
