"""Statements on projects and keys, and from a row to what the ring keeps. A key is read with what its project adds."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, func, insert, select, true, update

from app.db.database import Database, ReadTx, WriteTx
from app.db.repository import BY_CREATION, read_page
from app.db.tables import ApiKeyRow, ProjectRow, table
from app.errors import NotFound
from app.keys.entry import Entry
from app.keys.grant import Grant, Refusal
from app.keys.limits import Limits, decode_limits
from app.keys.schemas import ApiKey, Project, decode_models, decode_scopes, key_of, project_of
from app.keys.state import KeyState
from app.kit.pages import Page, PageQuery

KEYS = table(ApiKeyRow)
PROJECTS = table(ProjectRow)

_PROJECT = select(PROJECTS).where(PROJECTS.c.id == bindparam("key"))
_ADD_PROJECT = insert(PROJECTS)
_KEYS = select(
    KEYS, PROJECTS.c.archived_at.label("project_archived_at"), PROJECTS.c.limits.label("project_limits")
).join_from(KEYS, PROJECTS, KEYS.c.project_id == PROJECTS.c.id)
_KEY = _KEYS.where(KEYS.c.id == bindparam("key"))
_LOCKED_KEY = _KEY.with_for_update(of=KEYS)
_LOCKED_PROJECT = _PROJECT.with_for_update()
_ADD_KEY = insert(KEYS)
_COUNT = select(func.count()).select_from(KEYS)
_CHANGED = [
    select(changed.c.id, changed.c.changed_at).where(changed.c.changed_at >= bindparam("since"))
    for changed in (KEYS, PROJECTS)
]
_USED = update(KEYS).where(KEYS.c.id == bindparam("key")).values(last_used_at=bindparam("at"))


class KeyReader:
    """Reads projects and keys of all projects: those who may are administrators."""

    def __init__(self, tx: ReadTx) -> None:
        self._tx = tx

    def project(self, project_id: str) -> Row[Any] | None:
        """Return a project's row, if there is one."""
        return self._tx.first(_PROJECT, {"key": project_id})

    def require_project(self, project_id: str) -> Row[Any]:
        """Return a project's row. Raises NotFound."""
        return _found("project", project_id, self.project(project_id))

    def projects(self, query: PageQuery) -> Page[Project]:
        """Return one page of projects."""
        return read_page(self._tx, PROJECTS, true(), BY_CREATION, query, project_of)

    def key(self, key_id: str) -> Row[Any] | None:
        """Return a key's row with its project's columns, if there is one."""
        return self._tx.first(_KEY, {"key": key_id})

    def require_key(self, key_id: str) -> Row[Any]:
        """Return a key's row with its project's columns. Raises NotFound."""
        return _found("API key", key_id, self.key(key_id))

    def keys(self, project_id: str | None, query: PageQuery) -> Page[ApiKey]:
        """Return one page of keys, of one project or of all."""
        scope: ColumnElement[bool] = true() if project_id is None else KEYS.c.project_id == project_id
        return read_page(self._tx, KEYS, scope, BY_CREATION, query, key_of)

    def has_keys(self) -> bool:
        """Tell whether there is any key."""
        counted = self._tx.first(_COUNT)
        return counted is not None and counted[0] > 0

    def changed_since(self, second: int) -> dict[str, int]:
        """Return when keys and projects were last changed, by id, of those that were since a second."""
        rows = [row for statement in _CHANGED for row in self._tx.all(statement, {"since": second * 1000})]
        return {row.id: row.changed_at for row in rows}


class KeyWriter(KeyReader):
    """Reads and writes projects and keys. What it reads to change stays locked until the transaction ends."""

    def __init__(self, tx: WriteTx) -> None:
        super().__init__(tx)
        self._write = tx

    def add_project(self, values: Mapping[str, Any]) -> Row[Any]:
        """Insert a project and return its row."""
        self._write.run(_ADD_PROJECT, values)
        return self.require_project(values["id"])

    def locked_project(self, project_id: str) -> Row[Any]:
        """Return a project's row, to be changed. Raises NotFound."""
        return _found("project", project_id, self._tx.first(_LOCKED_PROJECT, {"key": project_id}))

    def archive(self, project_id: str, now: int) -> Row[Any]:
        """Close a project and return its row; one that is closed stays as it is."""
        row = self.locked_project(project_id)
        return row if row.archived_at is not None else self.change_project(row, {"archived_at": now}, now)

    def change_project(self, row: Row[Any], values: Mapping[str, Any], now: int) -> Row[Any]:
        """Set columns of a row that was locked and return it as it is then."""
        self._write.run(update(PROJECTS).where(PROJECTS.c.id == row.id).values(_changed(row, values, now)))
        return self.require_project(row.id)

    def add_key(self, values: Mapping[str, Any]) -> Row[Any]:
        """Insert a key and return its row."""
        self._write.run(_ADD_KEY, values)
        return self.require_key(values["id"])

    def locked_key(self, key_id: str) -> Row[Any]:
        """Return a key's row, to be changed. Raises NotFound."""
        return _found("API key", key_id, self._tx.first(_LOCKED_KEY, {"key": key_id}))

    def change_key(self, row: Row[Any], values: Mapping[str, Any], now: int) -> Row[Any]:
        """Set columns of a row that was locked and return it as it is then."""
        self._write.run(update(KEYS).where(KEYS.c.id == row.id).values(_changed(row, values, now)))
        return self.require_key(row.id)

    def note_uses(self, used: Mapping[str, int]) -> None:
        """Set when keys were last used."""
        self._write.run_many(_USED, [{"key": key_id, "at": at} for key_id, at in used.items()])


def _changed(row: Row[Any], values: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Return columns to set, with a `changed_at` in milliseconds that is never the same for two changes of a row."""
    return {**values, "changed_at": max(now * 1000, row.changed_at + 1)}


def _found(noun: str, object_id: str, row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise NotFound(f"No {noun} found with id '{object_id}'.")
    return row


class StoredKeys:
    """Where the ring reads from."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def key(self, key_id: str) -> Entry | None:
        """Return a key, if there is one."""
        row = await self._database.read(lambda tx: KeyReader(tx).key(key_id))
        return None if row is None else entry_of(row)

    async def project(self, project_id: str) -> Limits | None:
        """Return the limits of a project that is there and not archived."""
        row = await self._database.read(lambda tx: KeyReader(tx).project(project_id))
        return None if row is None or row.archived_at is not None else decode_limits(row.limits)

    async def changes_since(self, second: int) -> Mapping[str, int]:
        """Return the ids of what was changed since, each with a number that rises with its changes."""
        return await self._database.read(lambda tx: KeyReader(tx).changed_since(second))


def entry_of(row: Row[Any]) -> Entry:
    """Return what the ring keeps of a key."""
    closed = Refusal.ARCHIVED if row.project_archived_at is not None else None
    return Entry(
        grant=Grant(
            key_id=row.id,
            project_id=row.project_id,
            scopes=frozenset(decode_scopes(row.scopes)),
            models=frozenset(decode_models(row.models)) if row.models else None,
            limits=decode_limits(row.limits),
            project_limits=decode_limits(row.project_limits),
            expires_at=row.expires_at,
        ),
        hash=bytes.fromhex(row.hash),
        previous_hash=bytes.fromhex(row.previous_hash) if row.previous_hash else None,
        previous_until=row.previous_until or 0,
        closed=Refusal.REVOKED if row.revoked_at is not None else closed,
    )


def state_of(row: Row[Any]) -> KeyState:
    """Return what decides whether a key's secrets are taken."""
    return KeyState(**{name: getattr(row, name) for name in KeyState.__struct_fields__})
