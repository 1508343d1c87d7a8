"""Statements of moving. What comes in may have any project's id: rows are looked for by their ids alone, and compared.

What goes out is read in the order of indexes, after a place, so that a page costs the same wherever it begins.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Table,
    bindparam,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    update,
)

from app.audit.repository import record
from app.db.database import ReadTx, WriteTx
from app.db.tables import (
    AssistantRow,
    ItemRow,
    MessageRow,
    ProjectRow,
    ResponseRow,
    RunRow,
    StepRow,
    ThreadRow,
    VectorStoreRow,
    table,
)
from app.kit.caller import Caller

PROJECTS, STORES, ASSISTANTS = table(ProjectRow), table(VectorStoreRow), table(AssistantRow)
THREADS, MESSAGES, ITEMS = table(ThreadRow), table(MessageRow), table(ItemRow)
RUNS, STEPS, RESPONSES = table(RunRow), table(StepRow), table(ResponseRow)
TABLES: dict[str, Table] = {
    "project": PROJECTS,
    "vector_store": STORES,
    "assistant": ASSISTANTS,
    "thread": THREADS,
    "thread.run": RUNS,
    "thread.message": MESSAGES,
    "thread.item": ITEMS,
    "thread.run.step": STEPS,
    "thread.response": RESPONSES,
}
"""By what a line says that it is, in an order in which rows may be added: none refers to one that comes later."""

_TURNS = 7_310_551_911  # any number: imports on one PostgreSQL take turns under it
_IDS_AT_ONCE = 500
_LISTED = text("id >= 'thread_'")
_REACH = update(THREADS).where(THREADS.c.id == bindparam("key")).values(last_position=bindparam("reached"))

Columns = Mapping[str, Any]


class MovingWriter:
    """Looks for rows by their ids, in every project, and adds some to one."""

    def __init__(self, tx: WriteTx) -> None:
        self._tx = tx
        tx.take_turns(_TURNS)

    def find(self, kind: str, ids: Iterable[str]) -> dict[str, Columns]:
        """Return what is stored under these ids; threads stay as they are until the transaction ends."""
        found: dict[str, Columns] = {}
        wanted, source = sorted(set(ids)), TABLES[kind]
        for begin in range(0, len(wanted), _IDS_AT_ONCE):
            statement = (
                select(source).where(source.c.id.in_(wanted[begin : begin + _IDS_AT_ONCE])).order_by(source.c.id)
            )
            statement = statement.with_for_update() if kind == "thread" else statement
            found |= {row.id: row._asdict() for row in self._tx.all(statement)}
        return found

    def taken(self, thread_id: str, positions: Sequence[int]) -> set[int]:
        """Return which of these places in a thread are not free."""
        held: set[int] = set()
        for begin in range(0, len(positions), _IDS_AT_ONCE):
            some = positions[begin : begin + _IDS_AT_ONCE]
            for source in (MESSAGES, ITEMS):
                there = source.c.thread_id == thread_id
                rows = self._tx.all(select(source.c.position).where(there, source.c.position.in_(some)))
                held |= {row.position for row in rows}
        return held

    def newest_at(self, thread_id: str) -> int:
        """Return when the last message of a thread was made; 0 when there is none."""
        newest = select(MESSAGES.c.created_at).where(MESSAGES.c.thread_id == thread_id)
        row = self._tx.first(newest.order_by(MESSAGES.c.position.desc()).limit(1))
        return 0 if row is None else int(row.created_at)

    def add(self, kind: str, rows: Sequence[Columns]) -> None:
        """Add rows of one kind."""
        self._tx.run_many(insert(TABLES[kind]), rows)

    def reach(self, thread_id: str, position: int) -> None:
        """Note the newest place of a thread."""
        self._tx.run(_REACH, {"key": thread_id, "reached": position})

    def record(self, caller: Caller, project_id: str, at: int) -> None:
        """Leave a record of a batch in the audit."""
        record(self._tx, caller, "project.import", project_id, at)


class MovingReader:
    """Reads what goes out, a few rows at a time. Each method returns rows after a place, in order."""

    def __init__(self, tx: ReadTx) -> None:
        self._tx = tx

    def one(self, kind: str, object_id: str) -> Row[Any] | None:
        """Return a row by its id."""
        source = TABLES[kind]
        return self._tx.first(select(source).where(source.c.id == object_id))

    def projects(self, after: str, count: int) -> Sequence[Row[Any]]:
        """Return projects in the order of their ids: the default one is of another age in every store."""
        return self._tx.all(select(PROJECTS).where(PROJECTS.c.id > after).order_by(PROJECTS.c.id).limit(count))

    def of_project(self, kind: str, project_id: str, after: tuple[int, str], count: int) -> Sequence[Row[Any]]:
        """Return a project's vector stores, assistants or threads in order of creation; no chains of responses."""
        source = TABLES[kind]
        scope = [source.c.project_id == project_id, *([_LISTED] if kind == "thread" else [])]
        return self._created(source, scope, after, count)

    def chains(self, project_id: str, after: str, count: int) -> Sequence[Row[Any]]:
        """Return threads of responses that belong to no conversation, in the order of their ids."""
        scope = [THREADS.c.project_id == project_id, THREADS.c.id > after, THREADS.c.id < "thread_"]
        return self._tx.all(select(THREADS).where(*scope).order_by(THREADS.c.id).limit(count))

    def runs(self, thread_id: str, until: int, active: str, after: tuple[int, str], count: int) -> Sequence[Row[Any]]:
        """Return a thread's runs that were over when its newest place was `until` and `active` held it."""
        return self._created(RUNS, [RUNS.c.thread_id == thread_id, *_over(until, active)], after, count)

    def steps(
        self, thread_id: str, until: int, active: str, run: tuple[int, str], after: tuple[int, str], count: int
    ) -> Sequence[Row[Any]]:
        """Return the steps of such runs: those of a run after a place in it, then those of later ones.

        With each, as `run_created_at`, when its run was made.
        """
        runs, steps = (RUNS.c.created_at, RUNS.c.id), (STEPS.c.created_at, STEPS.c.id)
        later = or_(tuple_(*runs) > tuple_(*run), tuple_(*steps) > tuple_(*after))
        scope = [RUNS.c.thread_id == thread_id, tuple_(*runs) >= tuple_(*run), later, *_over(until, active)]
        found = select(STEPS, RUNS.c.created_at.label("run_created_at")).join_from(
            RUNS, STEPS, STEPS.c.run_id == RUNS.c.id
        )
        found = found.where(*scope, STEPS.c.status != "in_progress")
        return self._tx.all(found.order_by(*runs, *steps).limit(count))

    def responses(
        self, thread_id: str, until: int, active: str, after: tuple[int, str], count: int
    ) -> Sequence[Row[Any]]:
        """Return the responses of such runs in order of their input."""
        keys = (RESPONSES.c.first_position, RESPONSES.c.id)
        scope = [RESPONSES.c.thread_id == thread_id, *_over(until, active), tuple_(*keys) > tuple_(*after)]
        found = select(RESPONSES).join_from(RESPONSES, RUNS, RUNS.c.id == RESPONSES.c.run_id).where(*scope)
        return self._tx.all(found.order_by(*keys).limit(count))

    def said(
        self, thread_id: str, until: int, active: str, after: int, count: int, size_bytes: int
    ) -> list[tuple[str, Row[Any]]]:
        """Return messages and items from after a place up to another, in order, but for those of the active run.

        As many as together are not much above a size, which is asked first: there may be pictures in them.
        """
        sizes = [
            (row.position, row.size)
            for source, body in ((MESSAGES, MESSAGES.c.content), (ITEMS, ITEMS.c.body))
            for row in self._tx.all(
                select(source.c.position, func.length(body).label("size"))
                .where(*_between(source, thread_id, active, after, until))
                .order_by(source.c.position)
                .limit(count)
            )
        ]
        last, total = after, 0
        for position, size in sorted(sizes)[:count]:
            if total and total + size > size_bytes:
                break
            last, total = position, total + size
        found = [
            (kind, row)
            for kind in ("thread.message", "thread.item")
            for row in self._tx.all(select(TABLES[kind]).where(*_between(TABLES[kind], thread_id, active, after, last)))
        ]
        return sorted(found, key=lambda pair: int(pair[1].position))

    def _created(self, source: Table, scope: Sequence[Any], after: tuple[int, str], count: int) -> Sequence[Row[Any]]:
        keys = (source.c.created_at, source.c.id)
        later = tuple_(*keys) > tuple_(*after)
        return self._tx.all(select(source).where(*scope, later).order_by(*keys).limit(count))


def _over(until: int, active: str) -> list[ColumnElement[bool]]:
    return [
        RUNS.c.ended_at.is_not(None),
        RUNS.c.id != active,
        func.coalesce(RUNS.c.last_position, literal_column("0")) <= until,
    ]


def _between(source: Table, thread_id: str, active: str, after: int, until: int) -> list[ColumnElement[bool]]:
    within = [source.c.thread_id == thread_id, source.c.position > after, source.c.position <= until]
    return [*within, func.coalesce(source.c.run_id, "") != active] if active else within
