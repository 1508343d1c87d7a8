"""Name the key that started a run, so that what it uses is charged to it after a restart, too."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("runs", sa.Column("key_id", sa.Text(), nullable=True))


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("runs") as runs:
        runs.drop_column("key_id")
