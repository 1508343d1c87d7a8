"""A SQLite connection with its pragmas, in an aiosqlite thread of its own.

A whole transaction is one hop into the thread, not one hop a statement
(docs/decisions/0002-whole-transactions-in-the-connection-thread.md has the figures).
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiosqlite
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from app.db.sqlite_statements import Statements

T = TypeVar("T")

BUSY_TIMEOUT_MS = 5000
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "mmap_size=0",
    "temp_store=MEMORY",
)
WRITER_PRAGMAS = (*PRAGMAS, "journal_size_limit=67108864")
READER_PRAGMAS = (*PRAGMAS, "wal_autocheckpoint=0", "query_only=ON")


class ConnectionThread:
    """A SQLite connection, the aiosqlite thread it lives in, and SQLAlchemy's view of it."""

    def __init__(self, thread: aiosqlite.Connection, driver: sqlite3.Connection, connection: Connection) -> None:
        self.driver = driver
        self.connection = connection
        self.statements = Statements(connection, driver)
        self._thread = thread

    @classmethod
    async def open(cls, path: Path, pragmas: tuple[str, ...], busy_timeout_ms: int) -> "ConnectionThread":
        """Connect and set the pragmas."""
        opened: list[sqlite3.Connection] = []

        def connect() -> sqlite3.Connection:
            driver = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
            for pragma in (f"busy_timeout={busy_timeout_ms}", *pragmas):
                driver.execute(f"PRAGMA {pragma}")
            opened.append(driver)
            return driver

        thread = aiosqlite.Connection(connect, iter_chunk_size=64)
        try:
            await thread
        except BaseException:
            thread._thread.join()  # its last word must find the loop open
            raise
        driver = opened[0]
        engine = create_engine(
            "sqlite://",
            creator=lambda: driver,
            poolclass=StaticPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
        )

        def attach() -> Connection:
            connection = engine.connect()
            connection.begin()  # and never ends: or Alembic would end the driver's transaction, which is the real one
            return connection

        try:
            connection = await thread._execute(attach)  # type: ignore[no-untyped-call]  # aiosqlite types none of it
        except BaseException:
            thread.stop()
            raise
        return cls(thread, driver, connection)

    async def call(self, function: Callable[[], T]) -> T:
        """Run a function in the connection's thread. aiosqlite has no public name for this."""
        result: T = await self._thread._execute(futureproof, function)  # type: ignore[no-untyped-call]  # as above
        return result

    async def close(self) -> None:
        """Let the connection and its thread go."""
        await self.call(self.connection.close)
        await self._thread.close()


def futureproof(function: Callable[[], T]) -> T:
    """Call a function; a future cannot hold StopIteration, and who waits for it would wait for ever."""
    try:
        return function()
    except StopIteration as stop:
        raise RuntimeError("a work raised StopIteration") from stop
