"""Keys over a database of each engine, with a clock that a test moves and a journal beside it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.db.database import Database
from app.db.opening import open_database
from app.keys.grant import Grant, Refusal
from app.keys.opening import Keys, opened_keys
from app.keys.schemas import CreateKey, NewApiKey
from app.settings import load_settings
from tests.fakes.callers import CALLER
from tests.fakes.clock import SetClock

PEPPER = "a pepper of tests, long enough for anyone"

Opening = Callable[..., AbstractAsyncContextManager[Keys]]


@pytest.fixture
def clock() -> SetClock:
    """Give the clock that all of a test's keys ask."""
    return SetClock()


@pytest.fixture
def open_keys(database_url: str, tmp_path: Path, clock: SetClock, anyio_backend: str) -> Opening:
    """Give `async with open_keys() as keys`: as a server opens them, as often as a test likes."""

    @asynccontextmanager
    async def open_one(url: str = database_url, **env: str) -> AsyncIterator[Keys]:
        journal = str(tmp_path / "revocations")
        given = {"DATABASE_URL": url, "KEY_PEPPER": PEPPER, "KEY_JOURNAL_FILE": journal, **env}
        settings = load_settings({name: text for name, text in given.items() if text})
        database = await open_database(url)
        try:
            async with opened_keys(settings, database, clock) as keys:
                yield keys
        finally:
            await database.close()

    return open_one


@pytest.fixture
async def keys(open_keys: Opening) -> AsyncIterator[Keys]:
    """Give the keys of an empty database, once for each engine."""
    async with open_keys() as opened:
        yield opened


async def new_key(keys: Keys, **fields: Any) -> NewApiKey:
    """Make a key."""
    return await keys.keys.create(CALLER, CreateKey(**{"name": "desk", **fields}))


async def verdict(keys: Keys, key: str) -> Refusal | None:
    """Say why a key is not taken; None when it is."""
    found = await keys.ring.admit(key.encode())
    return None if isinstance(found, Grant) else found


async def raw(database: Database, statement: Any) -> Any:
    """Return every row of a statement."""
    return await database.read(lambda tx: tx.all(statement))
