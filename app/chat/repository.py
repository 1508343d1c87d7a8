"""Statements of a chat that remembers: it takes its thread, adds what was said, and lets the thread go."""

from collections.abc import Sequence

from sqlalchemy import bindparam, case, delete, update

from app.audit.repository import record
from app.db.database import WriteTx
from app.db.locks import FREE, lapsed
from app.db.tables import MessageRow, ThreadRow, table
from app.engine.events import MessageCut
from app.errors import InvalidRequest
from app.kit.caller import Caller
from app.messages.repository import MessageWriter
from app.messages.schemas import CreateMessage

MESSAGES, THREADS = table(MessageRow), table(ThreadRow)

_OURS = (THREADS.c.id == bindparam("key"), THREADS.c.project_id == bindparam("project"))
_TAKE = (
    update(THREADS)
    .where(*_OURS, FREE)
    .values(active_run_id=bindparam("holder"), last_position=THREADS.c.last_position + bindparam("count"))
    .returning(THREADS.c.last_position)
)
# A lock that lapsed may be another's by now: it stays theirs, but what was said is kept all the same.
_LET_GO = (
    update(THREADS)
    .where(*_OURS)
    .values(
        active_run_id=case((THREADS.c.active_run_id == bindparam("holder"), None), else_=THREADS.c.active_run_id),
        last_position=THREADS.c.last_position + bindparam("count"),
    )
    .returning(THREADS.c.last_position)
)
_REMOVE = delete(MESSAGES).where(
    MESSAGES.c.id == bindparam("message"),
    MESSAGES.c.thread_id == bindparam("key"),
    MESSAGES.c.project_id == bindparam("project"),
)


class ThreadHold:
    """One chat's hold on a thread of its caller's project, in one transaction."""

    def __init__(self, tx: WriteTx, caller: Caller, thread_id: str, chat_id: str) -> None:
        self._tx = tx
        self._caller = caller
        self._thread_id = thread_id
        self._ours = {"key": thread_id, "project": caller.project_id, "holder": chat_id}
        self._messages = MessageWriter(tx, caller)

    def take(self, bodies: Sequence[CreateMessage], at: int) -> list[str]:
        """Lock the thread and add messages; return their ids.

        Raises NotFound, and InvalidRequest when a run or another chat holds the thread.
        """
        row = self._tx.first(_TAKE, self._ours | {"count": len(bodies), "lapsed": lapsed(at)})
        if row is None:
            active = self._messages.require_thread(self._thread_id)
            raise InvalidRequest(f"Thread {self._thread_id} already has an active run {active}.")
        first = row.last_position - len(bodies) + 1
        return [columns["id"] for columns in self._messages.insert(self._thread_id, bodies, at, first=first)]

    def end(self, text: str, cut: MessageCut | None, at: int) -> None:
        """Add the answer, unless it is empty, and let the thread go. One that was deleted meanwhile stays deleted."""
        answers = [CreateMessage(role="assistant", content=text)] if text else []
        row = self._tx.first(_LET_GO, self._ours | {"count": len(answers)})
        if row is not None:
            self._messages.insert(self._thread_id, answers, at, first=row.last_position, cut=cut)

    def undo(self, message_ids: Sequence[str], at: int) -> None:
        """Remove the messages that were added and let the thread go."""
        self._tx.first(_LET_GO, self._ours | {"count": 0})
        for message_id in message_ids:
            if self._tx.run(_REMOVE, self._ours | {"message": message_id}):
                record(self._tx, self._caller, "message.delete", message_id, at)
