"""Opens the database that a URL names, its schema brought up to date under a lock first."""

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.engine import URL

from app.db.database import CannotOpen, Database
from app.db.driver import AffectedSqlite
from app.db.migrations import SchemaTooNew, upgrade
from app.db.postgres import PostgresDatabase
from app.db.sqlite import DatabaseInUse, SqliteDatabase

REFUSALS = (AffectedSqlite, CannotOpen, DatabaseInUse, SchemaTooNew)
"""Why a database is not opened; each says so in one line."""


async def open_database(url: str) -> Database:
    """Open `sqlite:///path` or `postgresql://…`. Raises one of REFUSALS."""
    parsed = make_url(url)
    if is_sqlite(parsed):
        return await SqliteDatabase.open(sqlite_path(parsed), prepare=upgrade)
    return await PostgresDatabase.open(parsed, prepare=upgrade)


def is_sqlite(url: URL) -> bool:
    """Tell which of the two engines a URL names."""
    return url.get_backend_name() == "sqlite"


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite database; None for PostgreSQL."""
    parsed = make_url(url)
    return sqlite_path(parsed) if is_sqlite(parsed) else None


def sqlite_path(url: URL) -> Path:
    """Return the file of a `sqlite:///` URL."""
    if not url.database or url.database == ":memory:":
        raise ValueError("DATABASE_URL must name a file: sqlite:///data/sovereign_assistant.db")
    return Path(url.database)
