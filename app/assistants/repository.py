"""Statements on assistants."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, update

from app.assistants.schemas import Assistant, assistant_of
from app.audit.repository import record
from app.db.database import ReadTx, WriteTx
from app.db.repository import BY_CREATION, read_page
from app.db.tables import AssistantRow, table
from app.errors import NotFound
from app.kit.caller import Caller
from app.kit.pages import Page, PageQuery

ASSISTANTS = table(AssistantRow)

_OWN = ASSISTANTS.c.project_id == bindparam("project")
_ADD = insert(ASSISTANTS)
_FIND = select(ASSISTANTS).where(ASSISTANTS.c.id == bindparam("key"), ASSISTANTS.c.project_id == bindparam("project"))
_DELETE = delete(ASSISTANTS).where(ASSISTANTS.c.id == bindparam("key"), ASSISTANTS.c.project_id == bindparam("project"))


class AssistantReader:
    """Reads one project's assistants."""

    def __init__(self, tx: ReadTx, project_id: str) -> None:
        self._tx = tx
        self.project_id = project_id

    def require(self, assistant_id: str) -> Row[Any]:
        """Return an assistant's row. Raises NotFound."""
        row = self._tx.first(_FIND, {"key": assistant_id, "project": self.project_id})
        if row is None:
            raise NotFound(f"No assistant found with id '{assistant_id}'.")
        return row

    def page(self, query: PageQuery) -> Page[Assistant]:
        """Return one page of assistants."""
        given = {"project": self.project_id}
        return read_page(self._tx, ASSISTANTS, _OWN, BY_CREATION, query, assistant_of, given=given, once=True)


class AssistantWriter(AssistantReader):
    """Reads and writes one project's assistants."""

    def __init__(self, tx: WriteTx, caller: Caller) -> None:
        super().__init__(tx, caller.project_id)
        self._write = tx
        self._caller = caller

    def add(self, values: Mapping[str, Any]) -> Row[Any]:
        """Insert an assistant and return its row."""
        self._write.run(_ADD, {**values, "project_id": self.project_id})
        record(self._write, self._caller, "assistant.create", values["id"], values["created_at"])
        return self.require(values["id"])

    def change(self, assistant_id: str, values: Mapping[str, Any], at: int) -> Row[Any]:
        """Set columns and return the row. Raises NotFound."""
        self.require(assistant_id)
        if values:
            self._write.run(update(ASSISTANTS).where(ASSISTANTS.c.id == assistant_id).values(dict(values)))
        record(self._write, self._caller, "assistant.update", assistant_id, at)
        return self.require(assistant_id)

    def delete(self, assistant_id: str, at: int) -> None:
        """Delete an assistant, and with it the threads that a legacy client bound to it. Raises NotFound."""
        if not self._write.run(_DELETE, {"key": assistant_id, "project": self.project_id}):
            raise NotFound(f"No assistant found with id '{assistant_id}'.")
        record(self._write, self._caller, "assistant.delete", assistant_id, at)
