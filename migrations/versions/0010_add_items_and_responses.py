"""Keep responses, and what conversations hold beside messages; let a thread go on from another."""

import sqlalchemy as sa
from alembic import op

ID = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("threads", sa.Column("parent_id", ID, nullable=True))
    op.add_column("threads", sa.Column("parent_position", sa.BigInteger(), nullable=True))
    _partial("ix_threads_listed", "threads", ["project_id", "created_at", "id"], "id >= 'thread_'")
    _partial("ix_threads_parent", "threads", ["parent_id"], "parent_id IS NOT NULL")
    op.drop_index("ix_threads_project_created", "threads")
    op.add_column("runs", sa.Column("surface", sa.Text(), nullable=False, server_default="run"))
    op.add_column("runs", sa.Column("whole_context", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("last_position", sa.BigInteger(), nullable=True))
    op.create_table(
        "items",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("thread_id", ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("run_id", ID, nullable=True),
        sa.ForeignKeyConstraint(["thread_id"], ["threads.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ux_items_thread_position", "items", ["thread_id", "position"], unique=True)
    _partial("ix_items_thread_call", "items", ["thread_id", "call_id", "position"], "type = 'function_call'")
    op.create_table(
        "responses",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("thread_id", ID, nullable=False),
        sa.Column("previous_response_id", ID, nullable=True),
        sa.Column("background", sa.Boolean(), nullable=False),
        sa.Column("first_position", sa.BigInteger(), nullable=False),
        sa.Column("input_count", sa.BigInteger(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_responses_project_created", "responses", ["project_id", "created_at", "id"])
    op.create_index("ix_responses_thread", "responses", ["thread_id", "first_position"])
    op.create_index("ix_responses_run", "responses", ["run_id"])


def downgrade() -> None:
    """Go back. Conversations lose what threads cannot hold, and responses are no more."""
    op.drop_table("responses")
    op.drop_table("items")
    with op.batch_alter_table("runs") as runs:
        runs.drop_column("last_position")
        runs.drop_column("whole_context")
        runs.drop_column("surface")
    op.execute("DELETE FROM threads WHERE id < 'thread_'")
    op.drop_index("ix_threads_parent", "threads")
    op.drop_index("ix_threads_listed", "threads")
    with op.batch_alter_table("threads") as threads:
        threads.drop_column("parent_position")
        threads.drop_column("parent_id")
    op.create_index("ix_threads_project_created", "threads", ["project_id", "created_at", "id"])


def _partial(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
