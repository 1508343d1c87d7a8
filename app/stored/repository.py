"""Statements on stored chat completions."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, and_, bindparam, delete, insert, select, update

from app.audit.repository import record
from app.db.database import ReadTx, WriteTx
from app.db.repository import BY_CREATION, has_pair, read_page, wrong_cursor
from app.db.tables import ChatCompletionRow, table
from app.errors import NotFound
from app.kit.caller import Caller
from app.kit.pages import Page, PageQuery, page_of
from app.kit.wire import to_json
from app.stored.schemas import Document, completion_of, messages_of

COMPLETIONS = table(ChatCompletionRow)

# A completion without its messages, and the other way round: either can be as large as a request.
_SHOWN = tuple(COMPLETIONS.c[name] for name in ("id", "metadata", "completion"))
_INPUT = [COMPLETIONS.c[name] for name in ("id", "messages")]
_THIS = and_(COMPLETIONS.c.id == bindparam("key"), COMPLETIONS.c.project_id == bindparam("project"))
_FIND, _FIND_INPUT = select(*_SHOWN).where(_THIS), select(*_INPUT).where(_THIS)
_ADD = insert(COMPLETIONS)
_SET_METADATA = update(COMPLETIONS).where(_THIS).values(metadata=bindparam("pairs"))
_DELETE = delete(COMPLETIONS).where(_THIS)


class CompletionReader:
    """Reads one project's stored completions."""

    def __init__(self, tx: ReadTx, project_id: str) -> None:
        self._tx = tx
        self.project_id = project_id

    def require(self, completion_id: str) -> Row[Any]:
        """Return a completion's row, without its messages. Raises NotFound."""
        return self._found(completion_id, self._tx.first(_FIND, self._key(completion_id)))

    def page(self, query: PageQuery, model: str | None, metadata: Mapping[str, str]) -> Page[Document]:
        """Return one page of completions, or of those of a model, or of those that have all of some metadata."""
        scope = [COMPLETIONS.c.project_id == self.project_id]
        scope += [has_pair(COMPLETIONS.c.metadata, key, value) for key, value in metadata.items()]
        if model is not None:
            scope.append(COMPLETIONS.c.model == model)
        return read_page(self._tx, COMPLETIONS, and_(*scope), BY_CREATION, query, completion_of, shown=_SHOWN)

    def messages(self, completion_id: str, query: PageQuery) -> Page[Document]:
        """Return one page of the messages that a completion answers. Raises NotFound."""
        row = self._found(completion_id, self._tx.first(_FIND_INPUT, self._key(completion_id)))
        messages = list(messages_of(row))
        if query.order == "desc":
            messages.reverse()
        first = 0
        if query.after is not None:
            ids = [message.id for message in messages]
            if query.after not in ids:
                raise wrong_cursor("after", query.after)
            first = ids.index(query.after) + 1
        end = first + query.limit
        return page_of(messages[first:end], has_more=len(messages) > end)

    def _key(self, completion_id: str) -> dict[str, str]:
        return {"key": completion_id, "project": self.project_id}

    def _found(self, completion_id: str, row: Row[Any] | None) -> Row[Any]:
        if row is None:
            raise NotFound(f"No chat completion found with id '{completion_id}'.")
        return row


class CompletionWriter(CompletionReader):
    """Reads and writes one project's stored completions."""

    def __init__(self, tx: WriteTx, caller: Caller) -> None:
        super().__init__(tx, caller.project_id)
        self._write = tx
        self._caller = caller

    def add(self, columns: Mapping[str, Any], at: int) -> None:
        """Insert a completion."""
        self._write.run(_ADD, {**columns, "project_id": self.project_id})
        record(self._write, self._caller, "chat_completion.create", columns["id"], at)

    def set_metadata(self, completion_id: str, metadata: Mapping[str, str], at: int) -> Row[Any]:
        """Replace a completion's metadata and return its row. Raises NotFound."""
        self._write.run(_SET_METADATA, {**self._key(completion_id), "pairs": to_json(metadata)})
        row = self.require(completion_id)
        record(self._write, self._caller, "chat_completion.update", completion_id, at)
        return row

    def delete(self, completion_id: str, at: int) -> None:
        """Delete a completion. Raises NotFound."""
        if not self._write.run(_DELETE, self._key(completion_id)):
            raise NotFound(f"No chat completion found with id '{completion_id}'.")
        record(self._write, self._caller, "chat_completion.delete", completion_id, at)
