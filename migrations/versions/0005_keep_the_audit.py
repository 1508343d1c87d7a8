"""Keep the audit: who changed what, appended and sealed in a chain."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
    )
    sealed, waiting = sa.text("position IS NOT NULL"), sa.text("position IS NULL")
    op.create_index(
        "ux_audit_position", "audit", ["position"], unique=True, sqlite_where=sealed, postgresql_where=sealed
    )
    op.create_index("ix_audit_waiting", "audit", ["seq"], sqlite_where=waiting, postgresql_where=waiting)


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_audit_waiting", table_name="audit")
    op.drop_index("ux_audit_position", table_name="audit")
    op.drop_table("audit")
