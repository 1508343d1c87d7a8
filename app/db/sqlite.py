"""SQLite: one writer connection that batches commits, a few read-only ones. Its transactions are made here alone."""

import asyncio
import fcntl
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Connection

from app.db.database import CannotOpen, ReadTx, StorageFailed, WriteQueueFull, WriteTx, opening, translated
from app.db.driver import require_fixed_engine
from app.db.sqlite_connection import (
    BUSY_TIMEOUT_MS,
    READER_PRAGMAS,
    WRITER_PRAGMAS,
    ConnectionThread,
    futureproof,
)
from app.db.sqlite_statements import SqliteReadTx, SqliteWriteTx
from app.telemetry import metrics, tracing

T = TypeVar("T")

BATCH_LIMIT = 64
WRITE_QUEUE_LIMIT = 4096
READERS = 4


class DatabaseInUse(Exception):
    """Another process has this database open for writing."""


class _Job:
    """A work that waits for the writer, and the caller who waits for it."""

    __slots__ = ("done", "work")

    def __init__(self, work: Callable[[WriteTx], Any], done: "asyncio.Future[Any]") -> None:
        self.work = work
        self.done = done


class SqliteDatabase:
    """The Database of one file. `commits` counts transactions, `works` the writes that shared them."""

    def __init__(self, path: Path, lock: IO[bytes], writer: ConnectionThread, readers: list[ConnectionThread]) -> None:
        self.path = path
        self.commits = 0
        self.works = 0
        self._lock = lock
        self._writer = writer
        self._all_readers = readers
        self._free_readers: asyncio.LifoQueue[ConnectionThread] = asyncio.LifoQueue()
        for reader in readers:
            self._free_readers.put_nowait(reader)
        self._waiting: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._write_loop = asyncio.create_task(self._write_batches(), name="sqlite-writer")

    @classmethod
    async def open(
        cls, path: Path, *, prepare: Callable[[Connection], None], busy_timeout_ms: int = BUSY_TIMEOUT_MS
    ) -> "SqliteDatabase":
        """Take the file for this process, bring its schema up to date with `prepare`, and open the readers.

        Raises AffectedSqlite, DatabaseInUse, CannotOpen, and whatever `prepare` raises.
        """
        require_fixed_engine(sqlite3.sqlite_version_info)
        async with AsyncExitStack() as undo:
            with opening(str(path), OSError, sqlite3.Error):
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = undo.enter_context(lock_file(path))
                writer = await ConnectionThread.open(path, WRITER_PRAGMAS, busy_timeout_ms)
                undo.push_async_callback(writer.close)
                await writer.call(partial(_prepare, writer, prepare))
                readers = []
                for _ in range(READERS):
                    readers.append(await ConnectionThread.open(path, READER_PRAGMAS, busy_timeout_ms))
                    undo.push_async_callback(readers[-1].close)
            undo.pop_all()
        return cls(path, lock, writer, readers)

    async def read(self, work: Callable[[ReadTx], T]) -> T:
        """Run `work` on a free reader."""
        if self._closing:
            raise StorageFailed
        reader = await self._free_readers.get()
        # Shielded: a cancelled caller must not hand the connection on while its thread still uses it.
        reading = asyncio.ensure_future(reader.call(partial(_read, reader, work)))
        reading.add_done_callback(lambda _: self._free_readers.put_nowait(reader))
        with translated("read", sqlite3.Error):
            return await asyncio.shield(reading)

    async def write(self, work: Callable[[WriteTx], T]) -> T:
        """Queue `work` for the writer, which commits it together with what waits beside it."""
        if self._closing:
            raise StorageFailed
        if len(self._waiting) >= WRITE_QUEUE_LIMIT:
            raise WriteQueueFull
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(work, done))
        self._wake.set()
        metrics.DB_WAITING.set(len(self._waiting))
        with tracing.span("write"), translated("write", sqlite3.Error):
            return await done

    async def _write_batches(self) -> None:
        while not (self._closing and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH_LIMIT, len(self._waiting)))]
                metrics.DB_WAITING.set(len(self._waiting))
                batch = [job for job in batch if not job.done.cancelled()]
                if batch:
                    await self._commit(batch)

    async def _commit(self, batch: list[_Job]) -> None:
        try:
            works = [job.work for job in batch]
            outcomes = await self._writer.call(partial(_timed, self.path, partial(_write, self._writer, works)))
        except Exception as failure:
            outcomes = [(None, failure)] * len(batch)
        else:
            self.commits += 1
            self.works += len(batch)
            metrics.DB_BATCH.observe(len(batch))
        for job, (result, failure_of_one) in zip(batch, outcomes, strict=True):
            if job.done.done():
                continue
            if failure_of_one is None:
                job.done.set_result(result)
            else:
                job.done.set_exception(failure_of_one)

    async def close(self) -> None:
        """Finish the queued writes, close every connection, give the file back."""
        self._closing = True
        self._wake.set()
        await self._write_loop
        for reader in self._all_readers:
            await reader.close()
        await self._writer.close()
        self._lock.close()


Outcome = tuple[Any, Exception | None]


def _prepare(writer: ConnectionThread, prepare: Callable[[Connection], None]) -> None:
    """Bring the schema up to date in one transaction: a process that dies halfway leaves the old schema.

    Without foreign keys meanwhile, or a table that is made anew would take the rows that refer to it along.
    """
    driver = writer.driver
    driver.execute("PRAGMA foreign_keys=OFF")
    driver.execute("BEGIN EXCLUSIVE")
    try:
        (before,) = driver.execute("PRAGMA schema_version").fetchone()
        prepare(writer.connection)
        (after,) = driver.execute("PRAGMA schema_version").fetchone()
        if after != before and (broken := driver.execute("PRAGMA foreign_key_check").fetchone()):
            raise CannotOpen(f"a migration was undone: it left rows of {broken[0]} that refer to no {broken[2]}")
        driver.execute("COMMIT")
    except BaseException:
        if driver.in_transaction:
            driver.execute("ROLLBACK")
        raise
    driver.execute("PRAGMA foreign_keys=ON")


def _read(reader: ConnectionThread, work: Callable[[ReadTx], T]) -> T:
    driver = reader.driver
    driver.execute("BEGIN")
    try:
        return work(SqliteReadTx(reader.statements))
    finally:
        if driver.in_transaction:  # not after the engine itself gave it up
            driver.execute("ROLLBACK")


def _timed(path: Path, commit: Callable[[], T]) -> T:
    """Time a commit. One after which the file itself is newer has also moved the log into it."""
    before, began = _written_ns(path), time.perf_counter()
    outcome = commit()
    took_s = time.perf_counter() - began
    metrics.DB_COMMIT.observe(took_s)
    if _written_ns(path) != before:
        metrics.DB_CHECKPOINT.observe(took_s)
    return outcome


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _write(writer: ConnectionThread, works: list[Callable[[WriteTx], Any]]) -> list[Outcome]:
    """Run works in one transaction, a savepoint each, so that one that fails takes no other with it."""
    driver = writer.driver
    tx = SqliteWriteTx(writer.statements)
    driver.execute("BEGIN IMMEDIATE")
    try:
        outcomes = [_write_one(driver, tx, work) for work in works]
        driver.execute("COMMIT")
    except BaseException:
        if driver.in_transaction:
            driver.execute("ROLLBACK")
        raise
    return outcomes


def _write_one(driver: sqlite3.Connection, tx: WriteTx, work: Callable[[WriteTx], Any]) -> Outcome:
    driver.execute("SAVEPOINT work")
    try:
        result = futureproof(partial(work, tx))
    except Exception as failure:
        if not driver.in_transaction:  # the engine gave the whole transaction up: disk full, I/O error
            raise
        driver.execute("ROLLBACK TO work")
        driver.execute("RELEASE work")
        return None, failure
    driver.execute("RELEASE work")
    return result, None


def lock_file(path: Path) -> IO[bytes]:
    """Take the lock beside a database file: one writing process at a time. Held until the file is closed."""
    lock = path.with_name(path.name + ".lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise DatabaseInUse(f"{path} is in use by another process (its lock is {lock.name}).") from None
    os.fchmod(lock.fileno(), 0o600)
    return lock
