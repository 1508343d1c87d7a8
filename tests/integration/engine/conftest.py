"""An engine's stores, shared by a module since each test has threads of its own, and one that fails when told to."""

from collections.abc import AsyncIterator

import pytest

from app.db.database import Database
from app.db.opening import open_database
from app.db.sqlite import SqliteDatabase
from tests.fakes.database import TroubledDatabase
from tests.fixtures.databases import create_postgres_database


@pytest.fixture(scope="module")
async def sqlite(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[SqliteDatabase]:
    """Give an open SQLite database."""
    opened = await open_database(f"sqlite:///{tmp_path_factory.mktemp('engine')}/sovereign_assistant.db")
    assert isinstance(opened, SqliteDatabase)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
async def postgresql(postgres_url: str, anyio_backend: str) -> AsyncIterator[Database]:
    """Give an open PostgreSQL database."""
    opened = await open_database(await create_postgres_database(postgres_url))
    yield opened
    await opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Database:
    """Give an open database, once for each engine."""
    opened: Database = request.getfixturevalue(request.param)
    return opened


@pytest.fixture
def troubled(sqlite: SqliteDatabase) -> TroubledDatabase:
    """Give a SQLite database that fails as a test says."""
    return TroubledDatabase(sqlite)
