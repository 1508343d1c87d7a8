"""What a thread holds as the engine reads it: messages, tool calls and the other items, in the order of positions.

A thread that goes on from another has that one's past, too, up to where it left it.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Row, Select, Table, bindparam, select

from app.db.database import ReadTx
from app.db.tables import ItemRow, MessageRow, StepRow, ThreadRow, table
from app.engine.context import PastMessage, Told
from app.messages.calls import told_in_item, told_in_step
from app.messages.content import chat_content, decode_parts

MESSAGES, STEPS, ITEMS, THREADS = table(MessageRow), table(StepRow), table(ItemRow), table(ThreadRow)
END = 2**62
"""Above every position."""
CHAIN = "chain_"
"""What ids of threads begin with that may go on from another."""

Placed = tuple[int, Sequence[Told]]


def _newest_of(rows: Table, *shown: str) -> Select[Any]:
    return (
        select(rows.c.position, *(rows.c[name] for name in shown))
        .where(
            rows.c.thread_id == bindparam("thread"),
            rows.c.position > bindparam("low"),
            rows.c.position <= bindparam("high"),
        )
        .order_by(rows.c.position.desc())
        .limit(bindparam("count"))
    )


_MESSAGES = _newest_of(MESSAGES, "id", "role", "content", "token_count", "token_model").where(
    MESSAGES.c.status != "in_progress"
)
_CALLS = _newest_of(STEPS, "step_details").where(STEPS.c.type == "tool_calls", STEPS.c.status == "completed")
_ITEMS = _newest_of(ITEMS, "type", "call_id", "body")
_PARENT = select(THREADS.c.parent_id, THREADS.c.parent_position).where(THREADS.c.id == bindparam("thread"))


def newest(tx: ReadTx, thread_id: str, count: int, until: int | None = None) -> list[Told]:
    """Return the newest `count` messages of a thread with what stands among them, oldest first.

    `until` is the newest position that counts. Three queries for a thread, whatever its length.
    """
    told: list[Placed] = []
    high, left = END if until is None else until, count
    while True:
        here, messages = _part(tx, thread_id, high, left)
        told = here + told
        left -= messages
        parent = tx.first(_PARENT, {"thread": thread_id}) if left > 0 and thread_id.startswith(CHAIN) else None
        if parent is None or parent.parent_id is None:
            return list(chain.from_iterable(said for _, said in told))
        thread_id, high = parent.parent_id, parent.parent_position
        left -= 1  # a bound also where every thread on the way back is empty


def _part(tx: ReadTx, thread_id: str, high: int, count: int) -> tuple[list[Placed], int]:
    """Return what one thread holds up to a position, oldest first, and how many messages that are."""
    place: dict[str, Any] = {"thread": thread_id, "low": 0, "high": high, "count": count}
    messages = tx.all(_MESSAGES, place)
    if len(messages) == count:
        place["low"] = messages[-1].position
    placed: list[Placed] = [(row.position, (past_of(row),)) for row in messages]
    placed += [(row.position, told_in_step(row.step_details)) for row in tx.all(_CALLS, place)]
    placed += [(row.position, told_in_item(row.type, row.body)) for row in tx.all(_ITEMS, place)]
    return sorted(placed, key=itemgetter(0)), len(messages)


def past_of(row: Row[Any]) -> PastMessage:
    """Return a stored message as the model reads it."""
    content = chat_content(decode_parts(row.content))
    return PastMessage(row.role, content, row.id, row.token_count, row.token_model)


def past_of_new(columns: Mapping[str, Any]) -> PastMessage:
    """Return a message that was just written as the model reads it."""
    return PastMessage(columns["role"], chat_content(decode_parts(columns["content"])), columns["id"])
