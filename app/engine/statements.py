"""The journal's statements, prepared once. What they mean is journal.py's; the rows are db/tables.py's.

Those that change a run name the fence that is `held`, so that a late writer of an old owner touches nothing.
"""

from sqlalchemy import bindparam, delete, func, insert, select, update

from app.db.tables import ItemRow, MessageRow, RunEventsRow, RunRow, StepRow, ThreadRow, table

RUNS, THREADS, MESSAGES = table(RunRow), table(ThreadRow), table(MessageRow)
STEPS, EVENTS, ITEMS = table(StepRow), table(RunEventsRow), table(ItemRow)

ADD_EVENTS = insert(EVENTS)
ADD_STEP = insert(STEPS)
ADD_MESSAGE = insert(MESSAGES)
ADD_ITEM = insert(ITEMS)
START_RUN = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("run"), RUNS.c.fence == bindparam("held"), RUNS.c.ended_at.is_(None))
    .values(status=bindparam("reached"), started_at=bindparam("at"))
)
END_RUN = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("run"), RUNS.c.fence == bindparam("held"), RUNS.c.ended_at.is_(None))
    .values(
        status=bindparam("reached"),
        ended_at=bindparam("at"),
        usage=bindparam("tokens"),
        last_error=bindparam("error"),
        incomplete_reason=bindparam("reason"),
        required_action=None,
        last_position=select(THREADS.c.last_position).where(THREADS.c.id == bindparam("thread")).scalar_subquery(),
    )
)
WAIT_FOR_OUTPUTS = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("run"), RUNS.c.fence == bindparam("held"), RUNS.c.ended_at.is_(None))
    .values(status=bindparam("reached"), required_action=bindparam("action"))
)
REQUEUE_RUN = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("run"), RUNS.c.fence == bindparam("held"), RUNS.c.ended_at.is_(None))
    .values(status="queued", started_at=None)
)
TAKE_OVER = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("run"), RUNS.c.fence == bindparam("held"), RUNS.c.ended_at.is_(None))
    .values(fence=RUNS.c.fence + 1, owner=bindparam("new_owner"))
)
# What an attempt made stands after the calls whose outputs it began with, also a text that was whole already.
ROUNDS = STEPS.alias("rounds")
BEGAN_AFTER = (
    select(func.coalesce(func.max(ROUNDS.c.position), 0))
    .where(ROUNDS.c.run_id == bindparam("run"), ROUNDS.c.type == "tool_calls", ROUNDS.c.status == "completed")
    .scalar_subquery()
)
DROP_MESSAGES_OF_ATTEMPT = delete(MESSAGES).where(
    MESSAGES.c.thread_id == bindparam("thread"),
    MESSAGES.c.run_id == bindparam("run"),
    MESSAGES.c.position > BEGAN_AFTER,
)
DROP_STEPS_OF_ATTEMPT = delete(STEPS).where(STEPS.c.run_id == bindparam("run"), STEPS.c.position > BEGAN_AFTER)
DROP_ITEMS_OF_ATTEMPT = delete(ITEMS).where(
    ITEMS.c.thread_id == bindparam("thread"), ITEMS.c.run_id == bindparam("run")
)
# Where the engine has several writers, both rows are locked, the thread's first as when it is deleted: who takes or
# deletes the run at this moment is waited for, and nobody waits for each other.
HOLD_RUN = (
    select(RUNS.c.id)
    .join_from(THREADS, RUNS, RUNS.c.thread_id == THREADS.c.id)
    .where(RUNS.c.id == bindparam("run"), RUNS.c.fence == bindparam("held"), RUNS.c.ended_at.is_(None))
    .with_for_update()
)
NEXT_POSITION = (
    update(THREADS)
    .where(THREADS.c.id == bindparam("thread"))
    .values(last_position=THREADS.c.last_position + 1)
    .returning(THREADS.c.last_position)
)
UNLOCK_THREAD = (
    update(THREADS)
    .where(THREADS.c.id == bindparam("thread"), THREADS.c.active_run_id == bindparam("run"))
    .values(active_run_id=None)
)
END_MESSAGE = (
    update(MESSAGES)
    .where(MESSAGES.c.id == bindparam("message"))
    .values(
        status=bindparam("reached"),
        content=bindparam("text"),
        completed_at=bindparam("whole_at"),
        incomplete_at=bindparam("cut_at"),
        incomplete_reason=bindparam("reason"),
    )
)
DROP_MESSAGE = delete(MESSAGES).where(MESSAGES.c.id == bindparam("message"))
END_STEP = (
    update(STEPS)
    .where(STEPS.c.id == bindparam("step"))
    .values(
        status=bindparam("reached"),
        ended_at=bindparam("at"),
        usage=bindparam("tokens"),
        last_error=bindparam("error"),
    )
)
DETAIL_STEP = (
    update(STEPS)
    .where(STEPS.c.id == bindparam("step"))
    .values(step_details=bindparam("details"), usage=bindparam("tokens"))
)
FINISH_CALLS = (
    update(STEPS)
    .where(STEPS.c.id == bindparam("step"))
    .values(status="completed", ended_at=bindparam("at"), step_details=bindparam("details"))
)
END_CALLS = (
    update(STEPS)
    .where(STEPS.c.id == bindparam("step"))
    .values(
        status=bindparam("reached"),
        ended_at=bindparam("at"),
        step_details=bindparam("details"),
        usage=func.coalesce(bindparam("tokens", type_=STEPS.c.usage.type), STEPS.c.usage),
        last_error=bindparam("error"),
    )
)
EVENTS_AFTER = (
    select(EVENTS.c.first_seq, EVENTS.c.events)
    .where(EVENTS.c.run_id == bindparam("run"), EVENTS.c.last_seq > bindparam("seen"))
    .order_by(EVENTS.c.last_seq)
)
