"""Keep projects and API keys. The project that rows of before belong to is always there."""

import time

import sqlalchemy as sa
from alembic import op

ID = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")
DEFAULT_PROJECT = "proj_default"

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    projects = op.create_table(
        "projects",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.create_index("ix_projects_changed", ["changed_at"], unique=False)
        batch_op.create_index("ix_projects_created", ["created_at", "id"], unique=False)
    now = int(time.time())
    times = {"created_at": now, "changed_at": now * 1000}
    op.bulk_insert(projects, [{"id": DEFAULT_PROJECT, "name": "Default project", "limits": "{}", **times}])

    op.create_table(
        "api_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("models", sa.Text(), nullable=True),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.Text(), nullable=True),
        sa.Column("previous_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("rotated_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.create_index("ix_api_keys_changed", ["changed_at"], unique=False)
        batch_op.create_index("ix_api_keys_created", ["created_at", "id"], unique=False)
        batch_op.create_index("ix_api_keys_project_created", ["project_id", "created_at", "id"], unique=False)


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.drop_index("ix_api_keys_project_created")
        batch_op.drop_index("ix_api_keys_created")
        batch_op.drop_index("ix_api_keys_changed")

    op.drop_table("api_keys")
    with op.batch_alter_table("projects", schema=None) as batch_op:
        batch_op.drop_index("ix_projects_created")
        batch_op.drop_index("ix_projects_changed")

    op.drop_table("projects")
