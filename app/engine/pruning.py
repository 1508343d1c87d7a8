"""Forgets the events of runs that ended a while ago: the message is the lasting record."""

import asyncio
import logging

from sqlalchemy import bindparam, delete, select

from app.db.database import Database, WriteTx
from app.db.tables import RunEventsRow, RunRow, table
from app.errors import ApiError
from app.kit.clock import Clock

log = logging.getLogger(__name__)

EVERY_S = 30.0
BATCH = 2000  # rows of one transaction: a writer that waits for it waits milliseconds

EVENTS, RUNS = table(RunEventsRow), table(RunRow)
_OLD = (
    select(EVENTS.c.run_id, EVENTS.c.last_seq)
    .join(RUNS, RUNS.c.id == EVENTS.c.run_id)
    .where(EVENTS.c.written_at < bindparam("before"), RUNS.c.ended_at < bindparam("before"))
    .order_by(EVENTS.c.written_at)
    .limit(BATCH)
)
_FORGET = delete(EVENTS).where(EVENTS.c.run_id == bindparam("run"), EVENTS.c.last_seq == bindparam("seq"))


def prune(tx: WriteTx, before: int) -> int:
    """Delete up to BATCH rows of events of runs that ended before a time; return how many."""
    rows = tx.all(_OLD, {"before": before})
    tx.run_many(_FORGET, [{"run": row.run_id, "seq": row.last_seq} for row in rows])
    return len(rows)


async def keep_pruning(database: Database, clock: Clock, kept_s: int) -> None:
    """Prune until cancelled."""
    while True:
        try:
            pruned = await database.write(lambda tx: prune(tx, clock.now() - kept_s))
        except ApiError:
            log.warning("old events could not be pruned; trying again later")
            pruned = 0
        if pruned < BATCH:
            await asyncio.sleep(EVERY_S)
