"""Migrations on both engines: from nothing, from an old schema, there and back, never from a newer release."""

import asyncio
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text

from app.db.database import CannotOpen, Database
from app.db.migrations import SCRIPTS, SchemaTooNew, configuration, current, head, upgrade
from app.db.opening import open_database
from app.db.postgres import PostgresDatabase
from app.db.sqlite import SqliteDatabase
from app.db.tables import Base
from tests.integration.db.closing import aclosed
from tests.integration.db.schemas import schema_of

pytestmark = pytest.mark.anyio

T = TypeVar("T")

REVISIONS = [script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()][::-1]

ADD_THREAD = """
    INSERT INTO threads (id, project_id, created_at, metadata, last_position)
    VALUES ('thread_1', 'proj_default', 1, '{}', 1)
"""
ADD_MESSAGE = """
    INSERT INTO messages (id, project_id, thread_id, position, created_at, role, status, content, metadata)
    VALUES ('msg_1', 'proj_default', 'thread_1', 1, 1, 'user', 'completed', '[]', '{}')
"""

REVISION = '''
"""One revision more than this release has."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = {number!r}, {before!r}, None, None


def upgrade():
    {up}


def downgrade():
    pass
'''
REMAKE_THREADS = """
    with op.batch_alter_table("threads", recreate="always" if op.get_bind().dialect.name == "sqlite" else "auto") as t:
        t.add_column(sa.Column("title", sa.Text(), nullable=True))
"""
FAIL_HALFWAY = """
    op.create_table("halfway", sa.Column("id", sa.Text(), primary_key=True))
    op.execute("DELETE FROM messages")
    op.execute("INSERT INTO halfway SELECT id FROM nowhere")
"""
LEAVE_ORPHANS = """
    op.execute("DELETE FROM threads")
"""


async def opened(url: str, prepare: Callable[[Connection], None]) -> Database:
    """Open a database as the API does, but with another preparation."""
    if url.startswith("sqlite"):
        return await SqliteDatabase.open(Path(make_url(url).database or ""), prepare=prepare)
    return await PostgresDatabase.open(make_url(url), prepare=prepare)


async def inside(url: str, work: Callable[[Connection], T]) -> T:
    """Do something where migrations happen: on the writer, in their transaction."""
    results: list[T] = []
    database = await opened(url, lambda connection: results.append(work(connection)))
    await database.close()
    return results[0]


async def fill(url: str) -> None:
    """Make a store of this release with a thread and its message."""
    async with aclosed(await open_database(url)) as database:
        await database.write(lambda tx: tx.run(text(ADD_THREAD)))
        await database.write(lambda tx: tx.run(text(ADD_MESSAGE)))


def messages(connection: Connection) -> list[str]:
    return list(connection.exec_driver_sql("SELECT id FROM messages").scalars())


@pytest.fixture
def newer_scripts(tmp_path: Path) -> Callable[[str], Path]:
    """Give `newer_scripts(body)`: this release's migrations and one more."""

    def make(body: str) -> Path:
        folder = tmp_path / "migrations"
        shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        number = f"{int(head()) + 1:04d}"
        source = REVISION.format(number=number, before=head(), up=body.strip())
        (folder / "versions" / f"{number}_of_a_test.py").write_text(source)
        return folder

    return make


async def test_a_fresh_database_gets_the_newest_schema(empty_database_url: str) -> None:
    await (await open_database(empty_database_url)).close()
    assert await inside(empty_database_url, current) == head() == REVISIONS[-1]


async def test_opening_again_changes_nothing(empty_database_url: str) -> None:
    await fill(empty_database_url)
    before = await inside(empty_database_url, schema_of)
    await (await open_database(empty_database_url)).close()
    assert await inside(empty_database_url, schema_of) == before
    assert await inside(empty_database_url, messages) == ["msg_1"]


async def test_a_database_that_has_only_the_table_of_versions_is_filled(empty_database_url: str) -> None:
    create = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
    await inside(empty_database_url, lambda connection: connection.exec_driver_sql(create).rowcount)
    await (await open_database(empty_database_url)).close()
    assert await inside(empty_database_url, current) == head()


@pytest.mark.parametrize("old", REVISIONS)
async def test_every_old_schema_is_brought_to_the_newest(old: str, empty_database_url: str) -> None:
    fresh = await inside(empty_database_url, lambda connection: command.upgrade(configuration(connection), old))
    assert fresh is None
    assert await inside(empty_database_url, current) == old
    await (await open_database(empty_database_url)).close()
    assert await inside(empty_database_url, current) == head()


@pytest.mark.parametrize("number", range(len(REVISIONS)), ids=REVISIONS)
async def test_each_revision_goes_up_and_down_and_up_again(number: int, empty_database_url: str) -> None:
    before = REVISIONS[number - 1] if number else "base"

    def go(connection: Connection) -> list[Any]:
        config = configuration(connection)
        schemas = []
        for move, target in ((command.upgrade, before), (command.upgrade, REVISIONS[number])):
            move(config, target)
            schemas.append(schema_of(connection))
        for move, target in ((command.downgrade, before), (command.upgrade, REVISIONS[number])):
            move(config, target)
            schemas.append(schema_of(connection))
        return schemas

    old, new, old_again, new_again = await inside(empty_database_url, go)
    assert old != new
    assert old_again == old
    assert new_again == new


async def test_the_migrations_make_what_the_tables_say(empty_database_url: str) -> None:
    await (await open_database(empty_database_url)).close()
    compare = {"compare_type": True, "compare_server_default": True}

    def difference(connection: Connection) -> list[Any]:
        return compare_metadata(MigrationContext.configure(connection, opts=compare), Base.metadata)

    assert await inside(empty_database_url, difference) == []


async def test_to_the_letter_also_what_autogenerate_does_not_compare_on_sqlite(tmp_path: Path) -> None:
    migrated, made = (f"sqlite:///{tmp_path}/{name}.db" for name in ("migrated", "made"))
    await (await open_database(migrated)).close()
    await inside(made, Base.metadata.create_all)
    assert await inside(migrated, schema_of) == await inside(made, schema_of)


async def test_to_the_letter_also_what_autogenerate_does_not_compare_on_postgresql(empty_postgres_url: str) -> None:
    def make(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE SCHEMA made")
        Base.metadata.create_all(connection.execution_options(schema_translate_map={None: "made"}))

    await (await open_database(empty_postgres_url)).close()
    await inside(empty_postgres_url, make)
    made = await inside(empty_postgres_url, partial(schema_of, name="made"))
    assert len(made["rows"]) > 100
    assert await inside(empty_postgres_url, schema_of) == made


async def test_a_schema_of_a_newer_release_is_refused_and_left_alone(empty_database_url: str) -> None:
    await fill(empty_database_url)
    newer = "UPDATE alembic_version SET version_num = '9999'"
    await inside(empty_database_url, lambda connection: connection.exec_driver_sql(newer).rowcount)
    with pytest.raises(SchemaTooNew) as refusal:
        await (await open_database(empty_database_url)).close()
    assert str(refusal.value) == (
        f"The database has schema revision 9999, which this release does not know (its newest is {head()}). "
        "Start the newer release, or restore a backup made by this one."
    )
    assert await inside(empty_database_url, current) == "9999"
    assert await inside(empty_database_url, messages) == ["msg_1"]


async def test_a_table_that_is_made_anew_keeps_the_rows_that_refer_to_it(
    newer_scripts: Callable[[str], Path], empty_database_url: str
) -> None:
    await fill(empty_database_url)
    scripts = newer_scripts(REMAKE_THREADS)
    async with aclosed(await opened(empty_database_url, partial(upgrade, scripts=scripts))) as database:
        assert await database.read(lambda tx: tx.first(text("SELECT id FROM messages"))) == ("msg_1",)
        assert await database.read(lambda tx: tx.first(text("SELECT id, title FROM threads"))) == ("thread_1", None)
        await database.write(lambda tx: tx.run(text("DELETE FROM threads")))
        assert await database.read(lambda tx: tx.first(text("SELECT id FROM messages"))) is None


async def test_a_migration_that_fails_halfway_leaves_the_old_schema_and_its_rows(
    newer_scripts: Callable[[str], Path], empty_database_url: str
) -> None:
    await fill(empty_database_url)
    before = await inside(empty_database_url, schema_of)
    with pytest.raises(CannotOpen, match="nowhere"):
        await (await opened(empty_database_url, partial(upgrade, scripts=newer_scripts(FAIL_HALFWAY)))).close()
    assert await inside(empty_database_url, schema_of) == before
    assert await inside(empty_database_url, current) == head()
    assert await inside(empty_database_url, messages) == ["msg_1"]
    await (await open_database(empty_database_url)).close()


async def test_a_migration_that_leaves_rows_that_refer_to_nothing_is_undone(
    newer_scripts: Callable[[str], Path], empty_sqlite_url: str
) -> None:
    body = 'op.add_column("assistants", sa.Column("title", sa.Text(), nullable=True))\n' + LEAVE_ORPHANS
    await fill(empty_sqlite_url)
    with pytest.raises(CannotOpen, match="undone: it left rows of messages that refer to no threads"):
        await (await opened(empty_sqlite_url, partial(upgrade, scripts=newer_scripts(body)))).close()
    assert await inside(empty_sqlite_url, current) == head()
    assert await inside(empty_sqlite_url, messages) == ["msg_1"]


async def test_replicas_that_start_together_on_postgresql_take_turns(empty_postgres_url: str) -> None:
    databases = await asyncio.gather(*(open_database(empty_postgres_url) for _ in range(4)))
    assert await asyncio.gather(*(database.close() for database in databases)) == [None] * 4
    assert await inside(empty_postgres_url, current) == head()
