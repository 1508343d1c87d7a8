"""Store chat completions for clients that ask for it, with the messages that they answer."""

import sqlalchemy as sa
from alembic import op

ID = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "chat_completions",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("completion", sa.Text(), nullable=False),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_chat_completions_created", "chat_completions", ["project_id", "created_at", "id"])
    op.create_index("ix_chat_completions_model", "chat_completions", ["project_id", "model", "created_at", "id"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_chat_completions_model", table_name="chat_completions")
    op.drop_index("ix_chat_completions_created", table_name="chat_completions")
    op.drop_table("chat_completions")
