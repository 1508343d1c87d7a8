"""Two transactions at once on PostgreSQL: a writer that finds its run taken or deleted meanwhile writes nothing."""

import asyncio

import asyncpg
import pytest

from app.db.opening import open_database
from app.engine.events import MessageFinished, MessageStarted, TextAdded, TokenUsage, TurnCompleted, TurnEvent
from app.engine.journal import LostRun
from app.engine.turn import Stamped, Turn
from tests.fakes.callers import CALLER
from tests.integration.engine.rig import EVENTS, MESSAGES, Rig, engine

pytestmark = pytest.mark.anyio

OPENED = MessageStarted(at=20, step_id="step_1", message_id="msg_1")
ENDED = [MessageFinished(at=30, usage=TokenUsage()), TurnCompleted(at=30, usage=TokenUsage())]
NO_DEADLOCK_S = 15
PATIENCE = "ALTER DATABASE \"{}\" SET deadlock_timeout = '1min'"
"""PostgreSQL would end a deadlock after a second; now one outlasts what any write takes on a busy machine."""
LOSSES = {
    "taken": "UPDATE runs SET fence = fence + 1 WHERE id = $1",
    "deleted": "DELETE FROM threads WHERE active_run_id = $1",
}


async def write(rig: Rig, turn: Turn, events: list[Stamped], together: bool) -> set[str]:
    """Write events; return the ids of the runs that were lost."""
    if together:
        return await rig.journal.append_together([(turn, events)])
    try:
        await rig.journal.append(turn, events)
    except LostRun:
        return {turn.spec.run_id}
    return set()


@pytest.mark.parametrize("together", [True, False], ids=["flushed with others", "alone"])
@pytest.mark.parametrize("loss", LOSSES)
async def test_a_writer_waits_for_who_takes_its_run_and_then_writes_nothing(
    empty_postgres_url: str, loss: str, together: bool
) -> None:
    database = await open_database(empty_postgres_url)
    other = await asyncpg.connect(empty_postgres_url)
    try:
        async with engine(database) as rig:
            run = await rig.accept(starts=True)
            turn = run.turn()
            events = turn.stamp([TextAdded(text="late")] if loss == "taken" else [OPENED, TextAdded(text="late")])
            taking = other.transaction()
            await taking.start()
            await other.execute(LOSSES[loss], run.spec.run_id)
            writing = asyncio.create_task(write(rig, turn, events, together))
            await asyncio.sleep(0.1)
            await taking.commit()
            assert await writing == {run.spec.run_id}
            assert len(await rig.rows(EVENTS, run)) == (1 if loss == "taken" else 0)
            assert await rig.rows(MESSAGES, run) == []
    finally:
        await other.close()
        await database.close()


@pytest.mark.parametrize("ending", [[OPENED], [OPENED, TextAdded(text="x"), *ENDED]], ids=["opens", "ends"])
async def test_deleting_a_thread_and_writing_its_run_do_not_wait_for_each_other(
    empty_postgres_url: str, ending: list[TurnEvent]
) -> None:
    connection = await asyncpg.connect(empty_postgres_url)
    await connection.execute(PATIENCE.format(await connection.fetchval("SELECT current_database()")))
    await connection.close()
    database = await open_database(empty_postgres_url)
    try:
        async with engine(database) as rig:
            for number in range(30):
                run = await rig.accept(starts=True)
                turn = run.turn()
                async with asyncio.timeout(NO_DEADLOCK_S):
                    writing = asyncio.create_task(write(rig, turn, turn.stamp(ending), number % 2 == 0))
                    await asyncio.sleep(number % 5 * 0.0005)
                    await rig.threads.delete(CALLER, run.spec.thread_id)
                    assert await writing <= {run.spec.run_id}
    finally:
        await database.close()
