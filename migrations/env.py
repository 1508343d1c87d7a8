"""Alembic's entry. It always runs on the connection that app/db/migrations.py hands over."""

from alembic import context
from sqlalchemy import Connection

from app.db.tables import Base

given: Connection = context.config.attributes["connection"]
context.configure(
    connection=given,
    target_metadata=Base.metadata,
    render_as_batch=given.dialect.name == "sqlite",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
