"""A store with the tests' own table, over each engine or over SQLite alone, and an API whose store can be hurt."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.db.database import Database
from app.db.sqlite import SqliteDatabase
from tests.conformance.checker import Checker
from tests.fixtures.rooms import Served, served
from tests.integration.db import notes


@pytest.fixture
async def store(database: Database) -> Database:
    """Give an open database with the notes, once for each engine."""
    await database.write(notes.create)
    return database


@pytest.fixture
async def file_store(tmp_path: Path, anyio_backend: str) -> AsyncIterator[SqliteDatabase]:
    """Give an open SQLite database that holds only the notes."""
    opened = await SqliteDatabase.open(tmp_path / "notes.db", prepare=notes.prepare)
    yield opened
    await opened.close()


@pytest.fixture
async def opened_api(sqlite_url: str, stand_in_url: str, conformance: Checker) -> AsyncIterator[Served]:
    """Give an API of this test alone, with the store under it."""
    async with served(conformance, DATABASE_URL=sqlite_url, MODEL_URL=stand_in_url) as api:
        yield api
