"""What a batch knows of the store: rows that were looked up, and those that it adds itself. No I/O of its own."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from app.moving.naming import names, renamed
from app.moving.rows import Columns, same

Held = Mapping[str, Any]


class Rows(Protocol):
    """Where rows are looked for, in every project."""

    def find(self, kind: str, ids: Iterable[str]) -> Mapping[str, Held]:
        """Return what is stored under these ids."""
        ...


class NoNameLeft(Exception):
    """Every id that an object may have is taken by something else."""


class Shelf:
    """The rows of one project that lines speak of, by kind and id; `added` are new, in the order of their lines."""

    def __init__(self, rows: Rows, project_id: str) -> None:
        self.project_id = project_id
        self.added: dict[str, list[Columns]] = {}
        self._rows = rows
        self._fresh: set[tuple[str, str]] = set()
        self._held: dict[tuple[str, str], Held | None] = {}

    def look_up(self, kind: str, ids: Iterable[str]) -> None:
        """Read at once what will be asked for one by one: ids, and those that their objects may have instead."""
        both = {name for one in ids for name in (one, renamed(self.project_id, one))}
        self._read(kind, {name for name in both if (kind, name) not in self._held})

    def get(self, kind: str, object_id: str) -> Held | None:
        """Return a row by its id, whatever its project."""
        if (kind, object_id) not in self._held:
            self._read(kind, {object_id})
        return self._held[kind, object_id]

    def own(self, kind: str, object_id: str) -> Held | None:
        """Return a row by its id when it is the project's."""
        row = self.get(kind, object_id)
        return row if row is not None and row["project_id"] == self.project_id else None

    def in_thread(self, kind: str, object_id: str, thread_id: str) -> str | None:
        """Return the id under which an object is in a thread: its own, or one that it got there."""
        for name in names(self.project_id, object_id):
            row = self.own(kind, name)
            if row is not None and row["thread_id"] == thread_id:
                return name
            if row is None and name != object_id:
                return None
        return None

    def place(self, kind: str, columns: Columns) -> tuple[str, bool]:
        """Find an id for a line's columns; return it and whether it is free. Raises NoNameLeft."""
        for name in names(self.project_id, columns["id"]):
            row = self.get(kind, name)
            if row is None:
                return name, True
            if row["project_id"] == self.project_id and same(kind, row, columns | {"id": name}):
                return name, False
        raise NoNameLeft

    def add(self, kind: str, columns: Columns) -> None:
        """Keep a new row."""
        whole = columns | {"project_id": self.project_id}
        self._held[kind, columns["id"]] = whole
        self._fresh.add((kind, columns["id"]))
        self.added.setdefault(kind, []).append(whole)

    def is_new(self, kind: str, object_id: str) -> bool:
        """Tell whether a row is one that was added."""
        return (kind, object_id) in self._fresh

    def _read(self, kind: str, ids: set[str]) -> None:
        found = self._rows.find(kind, ids)
        self._held |= {(kind, name): found.get(name) for name in ids}
