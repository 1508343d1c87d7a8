"""Keep the names of vector stores that are brought along from elsewhere."""

import sqlalchemy as sa
from alembic import op

ID = sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql")

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "vector_stores",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_vector_stores_project_created", "vector_stores", ["project_id", "created_at", "id"])


def downgrade() -> None:
    """Go back."""
    op.drop_table("vector_stores")
