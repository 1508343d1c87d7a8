"""Runs the Alembic migrations on an open connection. The revisions themselves are in /migrations."""

from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

SCRIPTS = Path(__file__).resolve().parents[2] / "migrations"
_POSTGRES_LOCK = 7_310_551_900  # any number, the same in every release: replicas that start together take turns


class SchemaTooNew(Exception):
    """The database was written by a newer release."""


def configuration(connection: Connection | None = None, scripts: Path = SCRIPTS) -> Config:
    """Return Alembic's configuration; with a connection, its commands run on it."""
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def head(scripts: Path = SCRIPTS) -> str:
    """Return the newest revision that this release knows."""
    revision = _directory(scripts).get_current_head()
    assert revision is not None
    return revision


def current(connection: Connection) -> str | None:
    """Return the revision of a database, None when it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def known(scripts: Path = SCRIPTS) -> frozenset[str]:
    """Return every revision that this release knows."""
    return frozenset(script.revision for script in _directory(scripts).walk_revisions())


def _directory(scripts: Path) -> ScriptDirectory:
    return _read(scripts, frozenset(one.name for one in (scripts / "versions").iterdir()))


@lru_cache(maxsize=4)
def _read(scripts: Path, _files: frozenset[str]) -> ScriptDirectory:
    """Return the revisions. Reading them runs each of their files, so the same ones are read once."""
    return ScriptDirectory.from_config(configuration(scripts=scripts))


def upgrade(connection: Connection, scripts: Path = SCRIPTS) -> None:
    """Bring the schema to this release's. The caller holds the lock on SQLite; on PostgreSQL it is taken here."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
    found = current(connection)
    config = configuration(connection, scripts)
    if found is not None and found not in known(scripts):
        raise SchemaTooNew(
            f"The database has schema revision {found}, which this release does not know (its newest is "
            f"{head(scripts)}). Start the newer release, or restore a backup made by this one."
        )
    if found != head(scripts):
        command.upgrade(config, "head")
