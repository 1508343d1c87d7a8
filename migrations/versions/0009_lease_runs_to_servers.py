"""Name the server that carries a run out, and keep when each server was last seen."""

import sqlalchemy as sa
from alembic import op

ID = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "servers",
        sa.Column("id", ID, nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.add_column("runs", sa.Column("owner", ID, nullable=True))


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("runs") as runs:
        runs.drop_column("owner")
    op.drop_table("servers")
