"""Alembic's entry: runs on the connection that app/db/migrations.py hands over, else on DATABASE_URL.

The second way is `just revision`; a running server never takes it.
"""

import os

from alembic import context
from sqlalchemy import Connection, create_engine

from app.db.tables import Base


def run_on(connection: Connection) -> None:
    """Run the revisions on an open connection."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run_on(given)
else:
    engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///data/sovereign_assistant.db"))
    with engine.begin() as opened:
        run_on(opened)
