"""How the SQLite connections are set: one writer, readers that cannot write, the pragmas of the design on all."""

import asyncio
import sqlite3
import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.db.database import ReadTx, StorageFailed, WriteTx
from app.db.sqlite import READERS, SqliteDatabase
from app.db.sqlite_connection import BUSY_TIMEOUT_MS
from tests.integration.db import notes

pytestmark = pytest.mark.anyio

ON, FULL, IN_MEMORY = 1, 2, 2
COMMON = {
    "journal_mode": "wal",
    "synchronous": FULL,
    "foreign_keys": ON,
    "busy_timeout": BUSY_TIMEOUT_MS,
    "mmap_size": 0,
    "temp_store": IN_MEMORY,
}
MEANWHILE_S = 10


def pragmas(tx: ReadTx, *more: str) -> dict[str, object]:
    return {name: tx.all(text(f"PRAGMA {name}"))[0][0] for name in (*COMMON, *more)}


async def on_every_reader(store: SqliteDatabase, *more: str) -> list[dict[str, object]]:
    """Ask all readers at once, so that each of them answers."""
    together = threading.Barrier(READERS)

    def work(tx: ReadTx) -> dict[str, object]:
        together.wait(MEANWHILE_S)
        return pragmas(tx, *more)

    return await asyncio.gather(*(store.read(work) for _ in range(READERS)))


async def test_the_writer_has_the_pragmas_of_the_design(file_store: SqliteDatabase) -> None:
    found = await file_store.write(lambda tx: pragmas(tx, "query_only", "wal_autocheckpoint"))
    assert BUSY_TIMEOUT_MS == 5000
    assert found == COMMON | {"query_only": 0, "wal_autocheckpoint": 1000}


async def test_every_reader_has_them_too_and_neither_writes_nor_checkpoints(file_store: SqliteDatabase) -> None:
    found = await on_every_reader(file_store, "query_only", "wal_autocheckpoint")
    assert found == [COMMON | {"query_only": ON, "wal_autocheckpoint": 0}] * READERS


async def test_a_reader_cannot_write(file_store: SqliteDatabase) -> None:
    def sneak(tx: ReadTx) -> None:
        tx.first(text("INSERT INTO notes (number, body) VALUES (1, '') RETURNING number"))

    with pytest.raises(StorageFailed) as failure:
        await file_store.read(sneak)
    assert "readonly" in str(failure.value.__cause__)
    assert await file_store.read(notes.numbers) == []


async def test_a_work_holds_the_write_lock_before_its_first_statement(file_store: SqliteDatabase) -> None:
    # A transaction that begins as a reader and then writes meets errors that no timeout cures.
    begun, ended = threading.Event(), threading.Event()

    def idle(_: WriteTx) -> None:
        begun.set()
        assert ended.wait(MEANWHILE_S)

    writing = asyncio.create_task(file_store.write(idle))
    assert await asyncio.to_thread(begun.wait, MEANWHILE_S)
    foreign = sqlite3.connect(file_store.path, timeout=0, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        foreign.execute("BEGIN IMMEDIATE")
    ended.set()
    await writing
    foreign.execute("BEGIN IMMEDIATE")
    foreign.close()


async def test_foreign_keys_are_on_after_the_schema_was_brought_up_to_date(file_store: SqliteDatabase) -> None:
    def orphan(tx: WriteTx) -> None:
        tx.run(text("CREATE TABLE leaves (number BIGINT REFERENCES notes (number))"))
        tx.run(text("INSERT INTO leaves VALUES (404)"))

    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        await file_store.write(orphan)
