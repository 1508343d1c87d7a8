"""`python -m ops migrate`."""

import asyncio

import click

from app.db.migrations import head
from app.db.opening import REFUSALS, open_database
from ops.commands.settings import fail, settings_or_exit


@click.command()
def migrate() -> None:
    """Bring the schema of DATABASE_URL up to date. The API does this by itself when it starts."""
    settings = settings_or_exit()
    try:
        asyncio.run(_open_and_close(settings.database_url))
    except REFUSALS as problem:
        fail(str(problem))
    click.echo(f"schema revision {head()}")


async def _open_and_close(url: str) -> None:
    database = await open_database(url)
    await database.close()
