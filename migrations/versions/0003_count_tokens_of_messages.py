"""Keep what a message takes of a model's context window, as the model server counted it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("messages", sa.Column("token_count", sa.BigInteger(), nullable=True))
    op.add_column("messages", sa.Column("token_model", sa.Text(), nullable=True))


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("messages") as messages:
        messages.drop_column("token_model")
        messages.drop_column("token_count")
