"""`python -m ops migrate`."""

import asyncio

import click
from sqlalchemy.exc import SQLAlchemyError

from app.db.driver import AffectedSqlite
from app.db.migrations import SchemaTooNew, head
from app.db.opening import open_database
from app.db.sqlite import DatabaseInUse
from ops.commands.settings import fail, settings_or_exit


@click.command()
def migrate() -> None:
    """Bring the schema of DATABASE_URL up to date. The API does this by itself when it starts."""
    settings = settings_or_exit()
    try:
        asyncio.run(_open_and_close(settings.database_url))
    except (AffectedSqlite, DatabaseInUse, SchemaTooNew) as problem:
        fail(str(problem))
    except (SQLAlchemyError, OSError) as problem:
        fail(f"cannot open the database: {problem}")
    click.echo(f"schema revision {head()}")


async def _open_and_close(url: str) -> None:
    database = await open_database(url)
    await database.close()
