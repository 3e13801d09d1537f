"""Where each version's model card is. Those from before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ADDED = ("card_uri", "card_sha256")


def upgrade() -> None:
    for name in _ADDED:
        op.add_column("model_versions", sa.Column(name, sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    for name in reversed(_ADDED):
        op.drop_column("model_versions", name)
