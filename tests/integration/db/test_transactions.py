"""What `read` and `write` promise on both engines."""

import asyncio
import threading
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.db.database import Database, ReadTx, StorageFailed, WriteTx
from app.db.sqlite import SqliteDatabase
from tests.integration.db import notes

pytestmark = pytest.mark.anyio

MEANWHILE_S = 10


class Refused(Exception):
    """A work's own failure."""


def refuse(number: int, tx: WriteTx) -> None:
    notes.add(number)(tx)
    raise Refused(str(number))


async def test_what_a_work_returns_goes_to_its_caller(store: Database) -> None:
    results = await asyncio.gather(*(store.write(notes.add(number)) for number in range(200)))
    assert results == list(range(200))
    assert await store.read(notes.numbers) == list(range(200))


async def test_a_work_that_fails_leaves_nothing_and_takes_no_other_with_it(store: Database) -> None:
    works = [partial(refuse, number) if number % 3 == 0 else notes.add(number) for number in range(100)]
    outcomes = await asyncio.gather(*(store.write(work) for work in works), return_exceptions=True)
    for number, outcome in enumerate(outcomes):
        if number % 3 == 0:
            assert isinstance(outcome, Refused)
            assert str(outcome) == str(number)
        else:
            assert outcome == number
    assert await store.read(notes.numbers) == [number for number in range(100) if number % 3]


async def test_a_broken_constraint_stays_what_it_is_and_is_not_called_a_storage_failure(store: Database) -> None:
    await store.write(notes.add(1))
    outcomes = await asyncio.gather(*(store.write(notes.add(number)) for number in (0, 1, 2)), return_exceptions=True)
    assert outcomes[::2] == [0, 2]
    assert isinstance(outcomes[1], IntegrityError)
    assert await store.read(notes.numbers) == [0, 1, 2]


async def test_no_error_text_tells_what_was_to_be_stored(store: Database) -> None:
    await store.write(notes.add(1))
    with pytest.raises(IntegrityError) as failure:
        await store.write(notes.add(1, "a private sentence"))
    assert "a private sentence" not in str(failure.value)


async def test_statements_that_cannot_be_carried_out_are_a_storage_failure_with_its_reason(store: Database) -> None:
    for carry_out in (store.read, store.write):
        with pytest.raises(StorageFailed) as failure:
            await carry_out(lambda tx: tx.all(text("SELECT * FROM nowhere")))
        assert "nowhere" in str(failure.value.__cause__)
        assert "nowhere" not in failure.value.message


async def test_a_work_that_exhausts_an_iterator_gets_an_error_and_not_an_endless_wait(store: Database) -> None:
    nothing: list[int] = []
    for carry_out in (store.read, store.write):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(carry_out(lambda _: next(iter(nothing))), MEANWHILE_S)
    assert await asyncio.wait_for(store.write(notes.add(7)), MEANWHILE_S) == 7
    assert await store.read(notes.numbers) == [7]


async def test_a_read_sees_one_state_whatever_is_committed_meanwhile_on_sqlite(file_store: SqliteDatabase) -> None:
    looked, written = threading.Event(), threading.Event()

    def look_twice(tx: ReadTx) -> tuple[list[int], list[int]]:
        first = notes.numbers(tx)
        looked.set()
        assert written.wait(MEANWHILE_S)
        return first, notes.numbers(tx)

    await file_store.write(notes.add(1))
    reading = asyncio.create_task(file_store.read(look_twice))
    assert await asyncio.to_thread(looked.wait, MEANWHILE_S)
    await file_store.write(notes.add(2))
    written.set()
    assert await reading == ([1], [1])
    assert await file_store.read(notes.numbers) == [1, 2]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_read_sees_one_state_whatever_is_committed_meanwhile_on_postgresql(store: Database) -> None:
    def look_twice(tx: ReadTx) -> tuple[list[int], list[int]]:
        first = notes.numbers(tx)
        tx.first(text("SELECT pg_sleep(0.4)"))
        return first, notes.numbers(tx)

    await store.write(notes.add(1))
    reading = asyncio.create_task(store.read(look_twice))
    await asyncio.sleep(0.1)
    await store.write(notes.add(2))
    assert not reading.done()
    assert await reading == ([1], [1])
    assert await store.read(notes.numbers) == [1, 2]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_read_cannot_write_on_postgresql(store: Database) -> None:
    def sneak(tx: ReadTx) -> None:
        tx.first(text("INSERT INTO notes (number, body) VALUES (1, '') RETURNING number"))

    with pytest.raises(StorageFailed) as failure:
        await store.read(sneak)
    assert "read-only transaction" in str(failure.value.__cause__)
    assert await store.read(notes.numbers) == []
