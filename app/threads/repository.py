"""Statements on threads."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, and_, bindparam, delete, insert, select, text, update

from app.assistants.repository import AssistantReader
from app.audit.repository import record
from app.db.database import ReadTx, WriteTx
from app.db.repository import BY_CREATION, has_pair, read_page
from app.db.tables import ThreadRow, row_of, table
from app.errors import NotFound
from app.kit.caller import Caller
from app.kit.ids import new_id
from app.kit.pages import Page, PageQuery
from app.kit.wire import to_json
from app.messages.repository import MessageWriter
from app.threads.schemas import CreateThread, Thread, thread_of

THREADS = table(ThreadRow)
# Literal, so that the index of the threads that are listed is used; those of responses sort before them.
_LISTED = text("id >= 'thread_'")
_OWN = and_(THREADS.c.project_id == bindparam("project"), _LISTED)

_ADD = insert(THREADS)
_FIND = select(THREADS).where(THREADS.c.id == bindparam("key"), THREADS.c.project_id == bindparam("project"))
_DELETE = (
    delete(THREADS)
    .where(THREADS.c.id == bindparam("key"), THREADS.c.project_id == bindparam("project"))
    .returning(THREADS.c.active_run_id)
)


class ThreadReader:
    """Reads one project's threads."""

    def __init__(self, tx: ReadTx, project_id: str) -> None:
        self._tx = tx
        self.project_id = project_id

    def require(self, thread_id: str) -> Row[Any]:
        """Return a thread's row. Raises NotFound."""
        row = self._tx.first(_FIND, {"key": thread_id, "project": self.project_id})
        if row is None:
            raise NotFound(f"No thread found with id '{thread_id}'.")
        return row

    def page(self, query: PageQuery, metadata: Mapping[str, str]) -> Page[Thread]:
        """Return one page of threads, or of those that have all of some metadata."""
        pairs = [has_pair(THREADS.c.metadata, key, value) for key, value in metadata.items()]
        scope, given = and_(_OWN, *pairs) if pairs else _OWN, {"project": self.project_id}
        return read_page(self._tx, THREADS, scope, BY_CREATION, query, thread_of, given=given, once=not pairs)


class ThreadWriter(ThreadReader):
    """Reads and writes one project's threads."""

    def __init__(self, tx: WriteTx, caller: Caller) -> None:
        super().__init__(tx, caller.project_id)
        self._write = tx
        self._caller = caller

    def create(self, body: CreateThread, at: int) -> tuple[Thread, list[dict[str, Any]]]:
        """Add a thread; return it with the columns of its first messages. Raises NotFound for an unknown assistant."""
        if body.assistant_id is not None:
            AssistantReader(self._write, self.project_id).require(body.assistant_id)
        messages = body.messages or []
        thread_id = new_id("thread")
        columns = {
            "id": thread_id,
            "project_id": self.project_id,
            "created_at": at,
            "metadata": to_json(body.metadata or {}),
            "tool_resources": to_json(body.tool_resources) if body.tool_resources is not None else None,
            "assistant_id": body.assistant_id,
            "active_run_id": None,
            "last_position": len(messages),
        }
        self._write.run(_ADD, columns)
        record(self._write, self._caller, "thread.create", thread_id, at)
        said = MessageWriter(self._write, self._caller).insert(thread_id, messages, at, first=1)
        return thread_of(row_of(columns)), said

    def change(self, thread_id: str, values: Mapping[str, Any], at: int) -> Row[Any]:
        """Set columns and return the row. Raises NotFound."""
        self.require(thread_id)
        if values:
            self._write.run(update(THREADS).where(THREADS.c.id == thread_id).values(dict(values)))
        record(self._write, self._caller, "thread.update", thread_id, at)
        return self.require(thread_id)

    def delete(self, thread_id: str, at: int) -> str | None:
        """Delete a thread and all that is in it; return the run that was active in it. Raises NotFound."""
        row = self._write.first(_DELETE, {"key": thread_id, "project": self.project_id})
        if row is None:
            raise NotFound(f"No thread found with id '{thread_id}'.")
        record(self._write, self._caller, "thread.delete", thread_id, at)
        active: str | None = row.active_run_id
        return active
