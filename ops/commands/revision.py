"""`python -m ops revision MESSAGE`: the next migration, from what changed in app/db/tables.py."""

import asyncio
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import click
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from app.db.migrations import configuration, head, upgrade
from app.db.sqlite import SqliteDatabase
from app.db.tables import Base
from ops.commands.settings import fail


@click.command()
@click.argument("message")
@click.option("--empty", is_flag=True, help="Write a migration without changes, to fill in by hand.")
def revision(message: str, empty: bool) -> None:
    """Write the next migration. MESSAGE says what it does: `add the audit log`. Read the file before you commit it."""
    if not any(letter.isalnum() for letter in message):
        fail("say in a few words what the migration does")
    with tempfile.TemporaryDirectory(prefix="sovereign-revision-") as folder:
        path = asyncio.run(_write(Path(folder) / "at_head.db", message, empty=empty))
    if path is None:
        fail("nothing changed in app/db/tables.py; use --empty for a migration of data")
    tidy(path)
    click.echo(path)


async def _write(database: Path, message: str, *, empty: bool) -> Path | None:
    """Bring an empty database to the newest revision, compare it with the tables, and write the difference."""
    written: list[Path] = []

    def compare(connection: Connection) -> None:
        upgrade(connection)
        if empty or compare_metadata(MigrationContext.configure(connection), Base.metadata):
            written.append(next_revision(connection, message, autogenerate=not empty))

    opened = await SqliteDatabase.open(database, prepare=compare)
    await opened.close()
    return written[0] if written else None


def next_revision(connection: Connection, message: str, *, autogenerate: bool) -> Path:
    """Write the file after the newest one. Numbers rise by one, so that two branches that both add one collide."""
    number = f"{int(head()) + 1:04d}"
    config = configuration(connection)
    config.cmd_opts = Namespace(quiet=True)  # Alembic's way to be told not to print
    made = command.revision(config, title(message), autogenerate=autogenerate, rev_id=number)
    assert made is not None and not isinstance(made, list)
    return Path(made.path)


def title(message: str) -> str:
    """Return a message as the first line of a docstring, without its full stop."""
    words = message.strip().rstrip(".")
    return words[:1].upper() + words[1:]


def tidy(path: Path) -> None:
    """Take Alembic's own remarks out of a new migration and format it as the rest of the code is."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.lstrip().startswith("# ### ")), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(path)], check=True)
