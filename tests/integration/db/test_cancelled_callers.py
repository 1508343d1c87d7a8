"""Callers that go away while they wait: no lock leaks, nothing runs for a caller who left before it began."""

import asyncio
import contextlib
import sqlite3
import threading
import time

import pytest

from app.db.database import Database, ReadTx, WriteTx
from app.db.sqlite import READERS, SqliteDatabase
from tests.integration.db import notes

pytestmark = pytest.mark.anyio

WRITERS = 600
MEANWHILE_S = 10
FAST_S = 1.0


async def test_a_storm_of_cancelled_writers_leaks_nothing(store: Database) -> None:
    begun: set[int] = set()

    def write(number: int) -> "asyncio.Task[int]":
        def work(tx: WriteTx) -> int:
            begun.add(number)
            return notes.add(number)(tx)

        return asyncio.create_task(store.write(work))

    writing = [write(number) for number in range(WRITERS)]
    while len(begun) < WRITERS // 6:
        await asyncio.sleep(0)
    cancelled = {number for number in range(WRITERS) if number % 3 == 1 and writing[number].cancel()}
    outcomes = await asyncio.gather(*writing, return_exceptions=True)

    stayed = set(range(WRITERS)) - cancelled
    assert {number for number in range(WRITERS) if outcomes[number] == number} == stayed
    assert all(isinstance(outcomes[number], asyncio.CancelledError) for number in cancelled)
    assert len(cancelled) > WRITERS // 6
    left_before_it_began = cancelled - begun
    assert left_before_it_began

    before = time.perf_counter()
    assert await store.write(notes.add(WRITERS)) == WRITERS
    assert time.perf_counter() - before < FAST_S

    kept = set(await store.read(notes.numbers))
    assert stayed <= kept
    assert not kept & left_before_it_began


async def test_after_a_storm_the_file_is_unlocked(file_store: SqliteDatabase) -> None:
    for number in range(100):
        writing = asyncio.create_task(file_store.write(notes.add(number)))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
    await file_store.write(notes.add(1000))
    foreign = sqlite3.connect(file_store.path, timeout=0, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    foreign.execute("INSERT INTO notes VALUES (1001, '')")
    foreign.execute("COMMIT")
    foreign.close()
    assert (await file_store.read(notes.numbers))[-2:] == [1000, 1001]


async def test_a_write_that_began_is_kept_though_its_caller_left(file_store: SqliteDatabase) -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow(tx: WriteTx) -> None:
        begun.set()
        assert ended.wait(MEANWHILE_S)
        notes.add(1)(tx)

    writing = asyncio.create_task(file_store.write(slow))
    assert await asyncio.to_thread(begun.wait, MEANWHILE_S)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    ended.set()
    assert await file_store.write(notes.numbers) == [1]


async def test_a_reader_whose_caller_left_is_not_handed_to_the_next_one_while_it_still_works(
    file_store: SqliteDatabase,
) -> None:
    # Others are free; who were given this one would wait until it is done with what nobody wants any more.
    begun, ended = threading.Event(), threading.Event()

    def slow(_: ReadTx) -> None:
        begun.set()
        assert ended.wait(MEANWHILE_S)

    reading = asyncio.create_task(file_store.read(slow))
    assert await asyncio.to_thread(begun.wait, MEANWHILE_S)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    try:
        for _ in range(2 * READERS):
            assert await asyncio.wait_for(file_store.read(notes.numbers), FAST_S) == []
    finally:
        ended.set()
    together = threading.Barrier(READERS)
    everyone = [file_store.read(lambda _: together.wait(MEANWHILE_S)) for _ in range(READERS)]
    assert len(await asyncio.gather(*everyone)) == READERS


async def test_cancelled_readers_leak_no_connection(store: Database) -> None:
    await store.write(notes.add(1))
    for number in range(60):
        reading = asyncio.create_task(store.read(notes.numbers))
        for _ in range(number % 9):
            await asyncio.sleep(0)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    before = time.perf_counter()
    assert await asyncio.gather(*(store.read(notes.numbers) for _ in range(20))) == [[1]] * 20
    assert time.perf_counter() - before < FAST_S
