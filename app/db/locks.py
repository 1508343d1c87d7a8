"""The lock of a thread: `active_run_id` names the run that holds it, or the chat completion that remembers in it.

A run is a row that its process, or the next one, brings to its end. A chat is nothing but a request: if its process is
killed nobody ends it, so its lock lapses. Ids begin with their time, so that which have lapsed is told by comparing
ids, in the statement that takes the lock.
"""

from sqlalchemy import and_, bindparam, or_, update

from app.db.database import WriteTx
from app.db.tables import ThreadRow, table
from app.kit.ids import COMPLETION_PREFIX, TIME_DIGITS, base62

CHAT_HELD_S = 600
"""For how long a chat keeps others out of its thread, in seconds: as long as a run may take by default."""

_THREADS = table(ThreadRow)
_holder = _THREADS.c.active_run_id
_AFTER_CHATS = COMPLETION_PREFIX[:-1] + chr(ord(COMPLETION_PREFIX[-1]) + 1)
_RELEASE_CHATS = update(_THREADS).where(_holder >= COMPLETION_PREFIX, _holder < _AFTER_CHATS).values(active_run_id=None)

FREE = or_(_holder.is_(None), and_(_holder >= COMPLETION_PREFIX, _holder < bindparam("lapsed")))
"""The condition under which a thread may be taken: `lapsed` is what the function of that name returns."""


def lapsed(at: int) -> str:
    """Return what sorts after the id of every chat whose lock has lapsed by a second since 1970."""
    return COMPLETION_PREFIX + base62(max(0, at - CHAT_HELD_S) * 1000, TIME_DIGITS)


def release_chats(tx: WriteTx) -> int:
    """Free every thread that a chat holds; return how many. Only right where no other process is at work."""
    return tx.run(_RELEASE_CHATS)
