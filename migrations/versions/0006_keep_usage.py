"""Keep usage: what every key used in a project on a day."""

import sqlalchemy as sa
from alembic import op

ID = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")
USAGE_ID = sa.String(length=160).with_variant(sa.String(length=160, collation="C"), "postgresql")

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "usage",
        sa.Column("id", USAGE_ID, nullable=False),
        sa.Column("day", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("key_id", ID, nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_usage_project", "usage", ["project_id", "id"])
    op.create_index("ix_usage_key", "usage", ["key_id", "id"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_usage_key", table_name="usage")
    op.drop_index("ix_usage_project", table_name="usage")
    op.drop_table("usage")
