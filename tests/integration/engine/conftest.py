"""An engine's stores: of each kind (`database`), of SQLite alone, and one that fails when told to."""

from collections.abc import AsyncIterator

import pytest

from app.db.database import Database
from app.db.opening import open_database
from tests.fakes.database import TroubledDatabase


@pytest.fixture
async def sqlite(sqlite_url: str, anyio_backend: str) -> AsyncIterator[Database]:
    """Give an open SQLite database."""
    opened = await open_database(sqlite_url)
    yield opened
    await opened.close()


@pytest.fixture
def troubled(sqlite: Database) -> TroubledDatabase:
    """Give a SQLite database that fails as a test says."""
    return TroubledDatabase(sqlite)
