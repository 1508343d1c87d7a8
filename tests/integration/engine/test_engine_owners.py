"""Two transactions at once on PostgreSQL: a writer that finds its run taken or deleted meanwhile writes nothing."""

import asyncio

import asyncpg
import pytest

from app.db.opening import open_database
from app.engine.events import MessageStarted, TextAdded
from app.engine.journal import LostRun
from app.engine.turn import Stamped, Turn
from tests.integration.engine.rig import EVENTS, MESSAGES, Rig, engine

pytestmark = pytest.mark.anyio

OPENED = MessageStarted(at=20, step_id="step_1", message_id="msg_1")
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
