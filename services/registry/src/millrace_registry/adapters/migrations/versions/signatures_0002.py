"""Who signed a model version. Those from before have no signature, and serving does not load them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "model_versions",
        sa.Column(
            "artifact_signature", sa.LargeBinary, nullable=False, server_default=sa.text("''")
        ),
    )
    op.add_column(
        "model_versions", sa.Column("signing_key_id", sa.Text, nullable=False, server_default="")
    )


def downgrade() -> None:
    op.drop_column("model_versions", "signing_key_id")
    op.drop_column("model_versions", "artifact_signature")
