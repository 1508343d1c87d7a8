"""Concurrent writes share commits on SQLite, in order, up to a limit, and to the last one before the file closes."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.db.database import StorageFailed, WriteQueueFull, WriteTx
from app.db.sqlite import BATCH_LIMIT, WRITE_QUEUE_LIMIT, SqliteDatabase
from tests.integration.db import notes
from tests.integration.db.closing import aclosed

pytestmark = pytest.mark.anyio

MEANWHILE_S = 10


@asynccontextmanager
async def writer_kept_busy(store: SqliteDatabase) -> AsyncIterator[None]:
    """Let a work hold the writer for the length of a block, so that what is written meanwhile waits."""
    begun, ended = threading.Event(), threading.Event()

    def hold(_: WriteTx) -> None:
        begun.set()
        assert ended.wait(MEANWHILE_S)

    holding = asyncio.create_task(store.write(hold))
    assert await asyncio.to_thread(begun.wait, MEANWHILE_S)
    try:
        yield
    finally:
        ended.set()
        await holding


async def started(store: SqliteDatabase, count: int) -> list["asyncio.Task[int]"]:
    """Start as many writes, so far that each of them is queued."""
    writing = [asyncio.create_task(store.write(notes.add(number))) for number in range(count)]
    await asyncio.sleep(0)
    return writing


async def test_writes_that_wait_beside_each_other_share_a_commit(file_store: SqliteDatabase) -> None:
    async with writer_kept_busy(file_store):
        writing = await started(file_store, 4 * BATCH_LIMIT)
    assert await asyncio.gather(*writing) == list(range(4 * BATCH_LIMIT))
    assert file_store.works == 1 + 4 * BATCH_LIMIT
    assert file_store.commits == 1 + 4


async def test_a_write_that_is_alone_is_committed_at_once_and_alone(file_store: SqliteDatabase) -> None:
    for number in range(5):
        await file_store.write(notes.add(number))
    assert (file_store.commits, file_store.works) == (5, 5)


async def test_writes_are_carried_out_in_the_order_in_which_they_were_asked(file_store: SqliteDatabase) -> None:
    carried_out: list[int] = []
    async with writer_kept_busy(file_store):
        works = [(lambda _, number=number: carried_out.append(number)) for number in range(3 * BATCH_LIMIT)]
        writing = [asyncio.create_task(file_store.write(work)) for work in works]
        await asyncio.sleep(0)
    await asyncio.gather(*writing)
    assert carried_out == list(range(3 * BATCH_LIMIT))


async def test_a_work_sees_what_earlier_works_of_its_batch_wrote(file_store: SqliteDatabase) -> None:
    async with writer_kept_busy(file_store):
        first = asyncio.create_task(file_store.write(notes.add(1)))
        second = asyncio.create_task(file_store.write(notes.numbers))
        await asyncio.sleep(0)
    assert await first == 1
    assert await second == [1]
    assert file_store.commits == 2


async def test_one_write_too_many_is_refused_at_once_and_the_others_are_carried_out(file_store: SqliteDatabase) -> None:
    async with writer_kept_busy(file_store):
        writing = await started(file_store, WRITE_QUEUE_LIMIT)
        with pytest.raises(WriteQueueFull) as refusal:
            await file_store.write(notes.add(-1))
        assert refusal.value.status == 503
        assert refusal.value.retry_after_s == 1
    assert len(await asyncio.gather(*writing)) == WRITE_QUEUE_LIMIT
    assert await file_store.read(notes.numbers) == list(range(WRITE_QUEUE_LIMIT))
    assert await file_store.write(notes.add(-1)) == -1


async def test_closing_finishes_what_is_queued_and_then_refuses(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    store = await SqliteDatabase.open(path, prepare=notes.prepare)
    async with writer_kept_busy(store):
        writing = await started(store, 3 * BATCH_LIMIT)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        for refused in (store.write(notes.add(-1)), store.read(notes.numbers)):
            with pytest.raises(StorageFailed):
                await refused
    await asyncio.wait_for(closing, MEANWHILE_S)
    assert await asyncio.gather(*writing) == list(range(3 * BATCH_LIMIT))
    async with aclosed(await SqliteDatabase.open(path, prepare=notes.prepare)) as reopened:
        assert await reopened.read(notes.numbers) == list(range(3 * BATCH_LIMIT))
