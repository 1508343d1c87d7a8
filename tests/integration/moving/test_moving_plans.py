"""What moving asks of either engine is led by an index, and is read in its order, however much there is."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from app.db.database import Database, WriteTx
from app.db.opening import open_database
from app.db.sqlite import SqliteDatabase
from app.moving.repository import MovingReader, MovingWriter
from tests.fixtures.databases import create_postgres_database
from tests.integration.db import filling
from tests.integration.db.filling import PROJECT, THREAD
from tests.integration.db.plans import Plan, plans_of

pytestmark = pytest.mark.anyio
ROWS = 3_000
READ_WHOLE = ("projects", "vector_stores", "responses", "runs JOIN run_steps")
"""PostgreSQL reads a table from end to end that is nearly empty, and the steps here, which are all of one thread."""
WHERE = (PROJECT, (1_700_000_010, "x"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str
) -> AsyncIterator[Database]:
    """Give a store in which there is much of everything."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('filled')}/sovereign_assistant.db"
    else:
        url = await create_postgres_database(request.getfixturevalue("postgres_url"))
    database = await open_database(url)
    fills: tuple[Any, ...] = (filling.fill_threads, filling.fill_messages, filling.fill_assistants)
    for fill in (*fills, filling.fill_runs, filling.fill_items):
        await database.write(partial(fill, count=ROWS))
    if request.param == "postgresql":
        await database.write(lambda tx: tx.run(text("ANALYZE")))
    yield database
    await database.close()


def take_out(tx: WriteTx) -> None:
    """Ask for each kind of thing that goes out, after a place."""
    reader, of_thread = MovingReader(tx), (THREAD, ROWS, "run_1")
    assert reader.projects("", 1)
    for kind in ("vector_store", "assistant", "thread"):
        reader.of_project(kind, *WHERE, 100)
    reader.chains(PROJECT, "chain_1", 1)
    assert reader.runs(*of_thread, (0, ""), 100)
    assert reader.steps(*of_thread, (1_700_000_000, "run_"), (1_700_000_000, "step_"), 100)
    reader.responses(*of_thread, (0, ""), 100)
    for active in ("", "run_1"):
        assert reader.said(THREAD, ROWS, active, ROWS // 2, 100, 1_000_000)


def bring_in(tx: WriteTx) -> None:
    """Look for what a batch speaks of."""
    writer = MovingWriter(tx)
    for kind in ("project", "vector_store", "assistant", "thread", "thread.run", "thread.message", "thread.item"):
        writer.find(kind, ["x_1", "x_2"])
    writer.taken(THREAD, [1, ROWS])
    writer.newest_at(THREAD)
    writer.reach(THREAD, ROWS)


@pytest.mark.parametrize("work", [take_out, bring_in])
async def test_every_statement_is_led_by_an_index_and_sorts_nothing_but_the_steps_of_a_run(
    filled: Database, work: Any
) -> None:
    plans = await filled.write(lambda tx: plans_of(tx, work))
    assert len(plans) > 9
    if not isinstance(filled, SqliteDatabase):
        plans = [plan for plan in plans if not any(f"FROM {read}" in plan.statement for read in READ_WHOLE)]
    assert [plan for plan in plans if plan.scans] == []
    assert list(sorted_otherwise(plans)) == []


def sorted_otherwise(plans: list[Plan]) -> Iterator[Plan]:
    for plan in plans:
        if any("LAST" not in one and "Incremental" not in one for one in plan.sorts):
            yield plan
