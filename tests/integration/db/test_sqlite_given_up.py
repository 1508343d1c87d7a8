"""An opening of a SQLite file that is given up wherever it waits leaves no thread and no lock behind."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from app.db.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio

JOINED_WITHIN_S = 10.0


def opening(path: Path) -> Coroutine[Any, Any, SqliteDatabase]:
    return SqliteDatabase.open(path, prepare=lambda connection: None)


async def waits_of(coroutine: Coroutine[Any, Any, SqliteDatabase], most: int) -> tuple[int, SqliteDatabase | None]:
    """Drive a coroutine through so many waits; return how many there were, and what it returned if it did."""
    for passed in range(most):
        try:
            future = coroutine.send(None)
        except StopIteration as whole:
            return passed, whole.value
        future._asyncio_future_blocking = False  # as a task does that takes a future over
        await asyncio.wait([future])
    return most, None


async def test_an_opening_that_is_given_up_wherever_it_waits_leaves_nothing_behind(tmp_path: Path) -> None:
    path, before = tmp_path / "a.db", set(threading.enumerate())
    places, database = await waits_of(opening(path), 1000)
    assert database is not None
    await database.close()
    assert places > 5
    for place in range(places):
        given_up = opening(path)
        await waits_of(given_up, place)
        given_up.send(None)
        closing = asyncio.create_task(ended(given_up))
        with pytest.raises(asyncio.CancelledError):
            await closing
        for thread in set(threading.enumerate()) - before:
            thread.join(JOINED_WITHIN_S)
            assert not thread.is_alive(), f"given up at wait {place}"
    await (await opening(path)).close()


async def ended(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Cancel a coroutine where it waits, and see it to its end."""
    try:
        future = coroutine.throw(asyncio.CancelledError())
        while True:
            future._asyncio_future_blocking = False
            await asyncio.wait([future])
            future = coroutine.send(None)
    except StopIteration:
        raise AssertionError("it went on") from None
