"""What a page, an append and the start of a run cost does not depend on how much is stored.

Counted in steps of SQLite's virtual machine, which no other load on the machine can change, and in time.
"""

import statistics
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NamedTuple

import pytest

from app.db.database import ReadTx, WriteTx
from app.db.migrations import upgrade
from app.db.sqlite import SqliteDatabase
from app.engine.context import PastCalls, PastMessage
from app.engine.journal import _events_after
from app.items.repository import ItemReader
from app.kit.pages import PageQuery
from app.messages.history import newest
from app.messages.repository import MessageReader, MessageWriter
from app.messages.schemas import CreateMessage
from app.runs.columns import input_of
from app.runs.repository import RunReader, RunWriter, unended
from app.runs.schemas import CreateRun
from app.threads.repository import ThreadReader, ThreadWriter
from app.threads.schemas import CreateThread
from tests.fakes.callers import CALLER
from tests.integration.db import filling
from tests.integration.db.closing import aclosed
from tests.integration.db.filling import PROJECT, RUN, THREAD, suffix

pytestmark = pytest.mark.anyio

FEW, MANY_MESSAGES, MANY_THREADS = 120, 100_000, 200_000
RUNS, MANY_RUNS = 40, 4_000
CALLS = 40  # among the newest messages
STEPS_MAY_GROW = 1.02
TIME_MAY_GROW = 1.5
TIMES = 60
ATTEMPTS = 4
NOW = 1_700_000_000


class Undone(Exception):
    """Takes back what a measured work wrote, so that the next one meets the same store."""


class Sized(NamedTuple):
    """A store and how many messages its first thread has."""

    store: SqliteDatabase
    messages: int
    runs: int


async def fill(store: SqliteDatabase, messages: int, threads: int, runs: int) -> Sized:
    """Fill a store that has only its schema."""
    await store.write(partial(filling.fill_threads, count=threads))
    await store.write(partial(filling.fill_messages, count=messages))
    await store.write(partial(filling.fill_assistants, count=runs))
    await store.write(partial(filling.fill_runs, count=runs))
    await store.write(partial(filling.fill_items, count=messages))
    await store.write(partial(filling.fill_calls, count=CALLS, last=messages))
    await store.write(partial(filling.fill_calls, count=runs // 4, last=messages // 10))
    return Sized(store, messages, runs)


@pytest.fixture(scope="module")
async def sizes(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[tuple[Sized, Sized]]:
    """Give a store with little in it and one with much."""
    folder = tmp_path_factory.mktemp("growth")
    async with (
        aclosed(await SqliteDatabase.open(folder / "small.db", prepare=upgrade)) as small,
        aclosed(await SqliteDatabase.open(folder / "large.db", prepare=upgrade)) as large,
    ):
        yield await fill(small, FEW, FEW, RUNS), await fill(large, MANY_MESSAGES, MANY_THREADS, MANY_RUNS)


def page(order: str, cursor: str | None, tx: ReadTx, sized: Sized) -> object:
    """Read a page from an end, or one before or after a message in the middle."""
    middle = f"msg_{suffix(sized.messages // 2)}"
    query = PageQuery(
        order="asc" if order == "asc" else "desc",
        after=middle if cursor == "after" else None,
        before=middle if cursor == "before" else None,
    )
    found = MessageReader(tx, PROJECT).page(THREAD, None, query)
    assert len(found.data) == 20
    return found


def page_of_items(order: str, tx: ReadTx, sized: Sized) -> object:
    """Read a page of messages, items and calls from an end."""
    found = ItemReader(tx, PROJECT).page(THREAD, PageQuery(order="asc" if order == "asc" else "desc"))
    assert len(found.data) == 20
    return found


def page_of_run(tx: ReadTx, sized: Sized) -> None:
    run = f"run_{sized.messages // 4}"
    assert len(MessageReader(tx, PROJECT).page(THREAD, run, PageQuery()).data) == 2


def page_of_runs(tx: ReadTx, _: Sized) -> None:
    assert len(RunReader(tx, PROJECT).page(THREAD, PageQuery()).data) == 20
    assert len(RunReader(tx, PROJECT).steps(THREAD, RUN, PageQuery()).data) == 20


def append(tx: WriteTx, _: Sized) -> None:
    MessageWriter(tx, CALLER).append(THREAD, [CreateMessage(role="user", content="and silver?")], NOW)


def start_run(tx: WriteTx, _: Sized) -> None:
    wanted = input_of(CreateRun(assistant_id=f"asst_{suffix(1)}"), 600)
    RunWriter(tx, CALLER).accept(THREAD, wanted, [], NOW, starts=True)
    told = newest(tx, THREAD, 100)
    assert sum(isinstance(item, PastMessage) for item in told) == 100
    assert sum(isinstance(item, PastCalls) for item in told) == CALLS


def make_and_delete_thread(tx: WriteTx, _: Sized) -> None:
    thread, _ = ThreadWriter(tx, CALLER).create(CreateThread(messages=[CreateMessage(role="user", content="hi")]), NOW)
    ThreadWriter(tx, CALLER).delete(thread.id, NOW)


Work = Callable[[WriteTx, Sized], object]
WORKS: dict[str, Work] = {
    "oldest page": partial(page, "asc", None),
    "newest page": partial(page, "desc", None),
    "page after a message, oldest first": partial(page, "asc", "after"),
    "page after a message, newest first": partial(page, "desc", "after"),
    "page before a message, oldest first": partial(page, "asc", "before"),
    "page before a message, newest first": partial(page, "desc", "before"),
    "oldest page of items": partial(page_of_items, "asc"),
    "newest page of items": partial(page_of_items, "desc"),
    "messages of a run": page_of_run,
    "pages of runs and steps": page_of_runs,
    "page of threads": lambda tx, _: ThreadReader(tx, PROJECT).page(PageQuery(), {}),
    "one thread": lambda tx, _: ThreadReader(tx, PROJECT).require(THREAD),
    "append": append,
    "start of a run": start_run,
    "thread made and deleted": make_and_delete_thread,
    "last events of a run": lambda tx, sized: _events_after(tx, RUN, sized.runs - 5),
    "unended runs": lambda tx, _: unended(tx),
}


async def steps(sized: Sized, work: Work) -> int:
    """Count the steps that a work takes, and take back what it wrote."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    def counted(tx: WriteTx) -> None:
        driver = tx._connection.connection.driver_connection
        assert driver is not None
        driver.set_progress_handler(step, 1)
        try:
            work(tx, sized)
        finally:
            driver.set_progress_handler(None, 0)
        raise Undone

    with pytest.raises(Undone):
        await sized.store.write(counted)
    return count


async def seconds(sized: Sized, work: Work) -> float:
    """Time a work inside its transaction, and take back what it wrote."""
    taken = 0.0

    def timed(tx: WriteTx) -> None:
        nonlocal taken
        before = time.perf_counter()
        work(tx, sized)
        taken = time.perf_counter() - before
        raise Undone

    with pytest.raises(Undone):
        await sized.store.write(timed)
    return taken


@pytest.mark.parametrize("name", WORKS)
async def test_a_thousandfold_store_takes_the_same_number_of_steps(name: str, sizes: tuple[Sized, Sized]) -> None:
    small, large = sizes
    few, many = await steps(small, WORKS[name]), await steps(large, WORKS[name])
    assert few > 10
    assert many <= few * STEPS_MAY_GROW, f"{few} steps with {FEW} messages, {many} with {MANY_MESSAGES}"


@pytest.mark.parametrize("name", WORKS)
async def test_a_thousandfold_store_takes_about_the_same_time(name: str, sizes: tuple[Sized, Sized]) -> None:
    # The two are timed in turn, so that a busy machine slows both; a machine may still stumble, but not four times.
    growth = []
    for _ in range(ATTEMPTS):
        pairs = [[await seconds(sized, WORKS[name]) for sized in sizes] for _ in range(TIMES)]
        small, large = (statistics.median(times) for times in zip(*pairs, strict=True))
        growth.append(large / small)
        if growth[-1] <= TIME_MAY_GROW:
            return
    pytest.fail(f"{MANY_MESSAGES} messages cost {growth} times as much as {FEW}")
