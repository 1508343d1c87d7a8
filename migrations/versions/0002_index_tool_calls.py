"""Index the tool calls of a thread by position, so that a run finds those it shows the model."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    calls = sa.text("type = 'tool_calls'")
    op.create_index(
        "ix_run_steps_thread_calls",
        "run_steps",
        ["thread_id", "position"],
        sqlite_where=calls,
        postgresql_where=calls,
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_run_steps_thread_calls", table_name="run_steps")
