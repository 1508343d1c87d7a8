"""Closes a database at the end of a block, also when the test fails: its threads would keep the process alive."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from app.db.database import Database

D = TypeVar("D", bound=Database)


@asynccontextmanager
async def aclosed(database: D) -> AsyncIterator[D]:
    """Yield an open database and close it at the end."""
    try:
        yield database
    finally:
        await database.close()
