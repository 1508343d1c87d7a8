"""The statements on items, prepared once. An item is in one of three tables; positions are one sequence over them."""

from typing import Any

from sqlalchemy import Select, Table, bindparam, delete, func, insert, literal_column, select, update

from app.db.tables import ItemRow, MessageRow, RunRow, StepRow, ThreadRow, table
from app.kit.wire import to_json

MESSAGES, STEPS, ITEMS = table(MessageRow), table(StepRow), table(ItemRow)
RUNS, THREADS = table(RunRow), table(ThreadRow)

NO_CALLS = to_json({"type": "tool_calls", "tool_calls": []})
"""The details of a step whose calls were not begun, or are all deleted."""

_OF_MESSAGE = tuple(MESSAGES.c[name] for name in ("id", "thread_id", "position", "role", "status", "content"))
_OF_ITEM = tuple(ITEMS.c[name] for name in ("id", "thread_id", "position", "type", "call_id", "body"))
# No join: a planner may read and sort all of one for the few of the other.
_CUT = select(RUNS.c.incomplete_reason).where(RUNS.c.id == STEPS.c.run_id).scalar_subquery().label("incomplete_reason")
_OF_STEP = (*(STEPS.c[name] for name in ("id", "thread_id", "position", "step_details")), _CUT)

_MESSAGES = select(*_OF_MESSAGE)
_ITEMS = select(*_OF_ITEM)
_CALLS = select(*_OF_STEP).where(
    STEPS.c.type == "tool_calls", STEPS.c.status == "completed", STEPS.c.step_details != NO_CALLS
)


def _within(found: Select[Any], rows: Table, *, ascending: bool) -> Select[Any]:
    """Read the first `count` rows of a thread from `low` to `high`, both included."""
    return (
        found.where(
            rows.c.thread_id == bindparam("thread"),
            rows.c.position >= bindparam("low"),
            rows.c.position <= bindparam("high"),
        )
        .order_by(rows.c.position.asc() if ascending else rows.c.position.desc())
        .limit(bindparam("count"))
    )


def _by_id(found: Select[Any], rows: Table) -> Select[Any]:
    return found.where(rows.c.id == bindparam("key"), rows.c.project_id == bindparam("project"))


PLACED = {
    up: tuple(
        _within(found, rows, ascending=up) for found, rows in ((_MESSAGES, MESSAGES), (_ITEMS, ITEMS), (_CALLS, STEPS))
    )
    for up in (True, False)
}
"""Messages, items and steps of a thread, by whether they are wanted ascending."""

OF_RUN = tuple(
    found.where(rows.c.run_id == bindparam("run"))
    for found, rows in zip(PLACED[True], (MESSAGES, ITEMS, STEPS), strict=True)
)
"""The same, of those that a run made."""

FIND_MESSAGE = _by_id(_MESSAGES, MESSAGES)
FIND_ITEM = _by_id(_ITEMS, ITEMS)
# As db/repository.py's has_pair: what holds for the text as it is written, on both engines and in either case.
_HAS_CALL = func.replace(STEPS.c.step_details, bindparam("call"), "") != STEPS.c.step_details
FIND_CALL = (
    _CALLS.where(STEPS.c.thread_id == bindparam("thread"), STEPS.c.project_id == bindparam("project"), _HAS_CALL)
    .order_by(STEPS.c.position.desc())
    .limit(1)
)
"""The step of a thread with a call. The details of all its calls are looked through."""

FIND_CALL_ANYWHERE = (
    _CALLS.where(
        STEPS.c.id > bindparam("low"),
        STEPS.c.id < bindparam("high"),
        STEPS.c.project_id == bindparam("project"),
        _HAS_CALL,
    )
    .order_by(STEPS.c.id.desc())
    .limit(1)
)
"""The step with a call, of those that were begun in a span of time: ids begin with it."""

FIND_CALL_OF_CLIENT = (
    select(ITEMS.c.id)
    .where(
        ITEMS.c.thread_id == bindparam("thread"),
        ITEMS.c.position <= bindparam("high"),
        ITEMS.c.call_id == bindparam("call"),
        ITEMS.c.type == literal_column("'function_call'"),  # as the index of calls has it
    )
    .limit(1)
)
"""A client's call in a thread, up to a position."""

PARENT = select(THREADS.c.parent_id, THREADS.c.parent_position).where(THREADS.c.id == bindparam("thread"))

ADD = insert(ITEMS)
DELETE = delete(ITEMS).where(ITEMS.c.id == bindparam("key"), ITEMS.c.project_id == bindparam("project"))
# Locked where the engine has several writers: two calls of one step may be deleted at once.
HOLD_STEP = select(STEPS.c.step_details).where(STEPS.c.id == bindparam("key")).with_for_update()
SET_DETAILS = update(STEPS).where(STEPS.c.id == bindparam("key")).values(step_details=bindparam("details"))
