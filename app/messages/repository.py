"""Statements on messages. A message's place is its position, given by the thread's counter."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, and_, bindparam, delete, func, insert, select, update

from app.audit.repository import record
from app.db.database import ReadTx, WriteTx
from app.db.locks import FREE, lapsed
from app.db.repository import read_page
from app.db.tables import MessageRow, ThreadRow, table
from app.engine.events import MessageCut
from app.errors import InvalidRequest, NotFound
from app.inference.tokens import CHARACTERS_PER_TOKEN
from app.kit.caller import Caller
from app.kit.ids import new_id
from app.kit.pages import Page, PageQuery
from app.kit.wire import to_json
from app.messages.content import parts_of
from app.messages.schemas import CreateMessage, Message, NewMessage, message_of

MESSAGES, THREADS = table(MessageRow), table(ThreadRow)

_ADD = insert(MESSAGES)
_FIND = select(MESSAGES).where(
    MESSAGES.c.id == bindparam("key"),
    MESSAGES.c.thread_id == bindparam("thread"),
    MESSAGES.c.project_id == bindparam("project"),
)
_SET_METADATA = update(MESSAGES).where(MESSAGES.c.id == bindparam("key")).values(metadata=bindparam("pairs"))
_DELETE = delete(MESSAGES).where(
    MESSAGES.c.id == bindparam("key"),
    MESSAGES.c.thread_id == bindparam("thread"),
    MESSAGES.c.project_id == bindparam("project"),
)
_FIND_THREAD = select(THREADS.c.active_run_id).where(
    THREADS.c.id == bindparam("key"), THREADS.c.project_id == bindparam("project")
)
_TAKE_POSITIONS = (
    update(THREADS)
    .where(
        THREADS.c.id == bindparam("key"),
        THREADS.c.project_id == bindparam("project"),
        FREE,
    )
    .values(last_position=THREADS.c.last_position + bindparam("count"))
    .returning(THREADS.c.last_position)
)
_NEWEST_SIZES = (
    select(
        func.coalesce(MESSAGES.c.token_count, func.length(MESSAGES.c.content) / CHARACTERS_PER_TOKEN).label("tokens")
    )
    .where(MESSAGES.c.thread_id == bindparam("thread"))
    .order_by(MESSAGES.c.position.desc())
    .limit(bindparam("count"))
    .subquery()
)
_WEIGHT = select(func.coalesce(func.sum(_NEWEST_SIZES.c.tokens), 0).label("tokens"))
_OF_THREAD = MESSAGES.c.thread_id == bindparam("thread")
_OF_RUN = and_(_OF_THREAD, MESSAGES.c.run_id == bindparam("run"))
_SET_TOKENS = (
    update(MESSAGES)
    .where(MESSAGES.c.id == bindparam("key"))
    .values(token_count=bindparam("tokens"), token_model=bindparam("model"))
)


class MessageReader:
    """Reads the messages of one project."""

    def __init__(self, tx: ReadTx, project_id: str) -> None:
        self._tx = tx
        self.project_id = project_id

    def require(self, thread_id: str, message_id: str) -> Row[Any]:
        """Return a message's row. Raises NotFound, for the thread or the message."""
        row = self._tx.first(_FIND, self._key(thread_id, message_id))
        if row is None:
            self.require_thread(thread_id)
            raise NotFound(f"No message found with id '{message_id}'.")
        return row

    def require_thread(self, thread_id: str) -> str | None:
        """Return the run that holds a thread's lock, if any. Raises NotFound."""
        row = self._tx.first(_FIND_THREAD, {"key": thread_id, "project": self.project_id})
        if row is None:
            raise NotFound(f"No thread found with id '{thread_id}'.")
        active: str | None = row.active_run_id
        return active

    def weight(self, thread_id: str, count: int) -> int:
        """Return roughly how many tokens the newest messages of a thread take. Raises NotFound."""
        self.require_thread(thread_id)
        row = self._tx.first(_WEIGHT, {"thread": thread_id, "count": count})
        return int(row.tokens) if row is not None else 0

    def page(self, thread_id: str, run_id: str | None, query: PageQuery) -> Page[Message]:
        """Return one page of a thread's messages, or of those that a run made. Raises NotFound."""
        self.require_thread(thread_id)
        scope = _OF_THREAD if run_id is None else _OF_RUN
        given = {"thread": thread_id} if run_id is None else {"thread": thread_id, "run": run_id}
        return read_page(self._tx, MESSAGES, scope, ("position",), query, message_of, given=given, once=True)

    def _key(self, thread_id: str, message_id: str) -> dict[str, str]:
        return {"key": message_id, "thread": thread_id, "project": self.project_id}


class MessageWriter(MessageReader):
    """Reads and writes the messages of one project."""

    def __init__(self, tx: WriteTx, caller: Caller) -> None:
        super().__init__(tx, caller.project_id)
        self._write = tx
        self._caller = caller

    def append(self, thread_id: str, bodies: Sequence[CreateMessage], at: int) -> list[dict[str, Any]]:
        """Add messages at the end of a thread; return their columns.

        Raises NotFound, and InvalidRequest when a run holds the thread.
        """
        first = self.take_positions(thread_id, len(bodies), at)
        if first is None:
            active = self.require_thread(thread_id)
            raise InvalidRequest(f"Can't add messages to {thread_id} while a run {active} is active.")
        return self.insert(thread_id, bodies, at, first=first)

    def take_positions(self, thread_id: str, count: int, at: int) -> int | None:
        """Take a thread's next positions; return the first. None: there is no such thread, or something holds it."""
        taken = {"key": thread_id, "project": self.project_id, "count": count}
        row = self._write.first(_TAKE_POSITIONS, taken | {"lapsed": lapsed(at)})
        return None if row is None else row.last_position - count + 1

    def insert(
        self,
        thread_id: str,
        bodies: Sequence[CreateMessage | NewMessage],
        at: int,
        *,
        first: int,
        cut: MessageCut | None = None,
    ) -> list[dict[str, Any]]:
        """Add messages at positions that are already theirs; return their columns. `cut` tells why they end early."""
        rows = [
            message_columns(self.project_id, thread_id, body, at, position, cut)
            for position, body in enumerate(bodies, start=first)
        ]
        self._write.run_many(_ADD, rows)
        for row in rows:
            record(self._write, self._caller, "message.create", row["id"], at)
        return rows

    def set_metadata(self, thread_id: str, message_id: str, metadata: dict[str, str], at: int) -> Row[Any]:
        """Replace a message's metadata and return its row. Raises NotFound."""
        self.require(thread_id, message_id)
        self._write.run(_SET_METADATA, {"key": message_id, "pairs": to_json(metadata)})
        record(self._write, self._caller, "message.update", message_id, at)
        return self.require(thread_id, message_id)

    def delete(self, thread_id: str, message_id: str, at: int) -> None:
        """Delete a message. Raises NotFound."""
        if not self._write.run(_DELETE, self._key(thread_id, message_id)):
            self.require(thread_id, message_id)
        record(self._write, self._caller, "message.delete", message_id, at)


def message_columns(
    project_id: str,
    thread_id: str,
    body: CreateMessage | NewMessage,
    at: int,
    position: int,
    cut: MessageCut | None = None,
) -> dict[str, Any]:
    """Return the columns of a message that no run made."""
    attachments = [{"file_id": given.file_id, "tools": given.tools or []} for given in body.attachments or []]
    return {
        "id": new_id("msg"),
        "project_id": project_id,
        "thread_id": thread_id,
        "position": position,
        "created_at": at,
        "role": body.role,
        "status": "completed" if cut is None else "incomplete",
        "content": to_json(parts_of(body.content)),
        "attachments": to_json(attachments),
        "metadata": to_json(body.metadata or {}),
        "assistant_id": None,
        "run_id": None,
        "incomplete_reason": cut,
        "completed_at": at if cut is None else None,
        "incomplete_at": None if cut is None else at,
    }


def remember_tokens(tx: WriteTx, model: str, counts: Mapping[str, int]) -> None:
    """Keep what messages take of a model's window, by their ids."""
    tx.run_many(_SET_TOKENS, [{"key": key, "tokens": tokens, "model": model} for key, tokens in counts.items()])
