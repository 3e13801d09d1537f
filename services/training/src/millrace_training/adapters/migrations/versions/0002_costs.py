"""What runs cost, what came of it, and their model cards. Of runs from before only the processor time is known."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ADDED: dict[str, sa.types.TypeEngine[Any]] = {
    "wall_seconds": sa.Float(53),
    "peak_memory_bytes": sa.BigInteger(),
    "joules": sa.Float(53),
    "points": sa.Float(53),
    "card_uri": sa.Text(),
    "card_sha256": sa.String(64),
}


def upgrade() -> None:
    for name, kind in _ADDED.items():
        op.add_column("runs", sa.Column(name, kind, nullable=True))
    promoted = sa.Column("promoted", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("runs", promoted)


def downgrade() -> None:
    for name in ("promoted", *_ADDED):
        op.drop_column("runs", name)
