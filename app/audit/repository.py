"""Statements on the audit: records are inserted, sealed once, and read. Nothing here changes or deletes one."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import asdict
from sqlalchemy import ColumnElement, Row, bindparam, insert, select, update

from app.audit.actions import DONE, Action
from app.audit.chain import FIELDS, START, Link, sealed
from app.audit.schemas import AuditRecord, RecordFilter, position_of, record_of
from app.db.database import ReadTx, WriteTx
from app.db.tables import AuditRow, table
from app.kit.caller import Caller
from app.kit.pages import Page, PageQuery, page_of

AUDIT = table(AuditRow)
_TURNS = 7_310_551_901  # any number: replicas on one PostgreSQL seal by turns under it

_WHOLE = [AUDIT.c[name] for name in (*FIELDS, "hash")]
# Inline: the number that the database gives a record is not asked back.
_ADD = insert(AUDIT).inline()
_HEAD = (
    select(AUDIT.c.position, AUDIT.c.hash)
    .where(AUDIT.c.position.is_not(None))
    .order_by(AUDIT.c.position.desc())
    .limit(1)
)
_WAITING = (
    select(AUDIT.c.seq, *(AUDIT.c[name] for name in FIELDS[1:]))
    .where(AUDIT.c.position.is_(None))
    .order_by(AUDIT.c.seq)
    .limit(bindparam("limit"))
)
_SEAL = (
    update(AUDIT)
    .where(AUDIT.c.seq == bindparam("of"), AUDIT.c.position.is_(None))
    .values(position=bindparam("at_position"), hash=bindparam("sealed_hash"))
)
_FROM = (
    select(*_WHOLE).where(AUDIT.c.position >= bindparam("first")).order_by(AUDIT.c.position).limit(bindparam("limit"))
)
_BEFORE_ALL = -(2**63)


def record(tx: WriteTx, caller: Caller, action: Action, object_id: str | None, at: int) -> None:
    """Record what a transaction does: both are kept, or neither. `at` is in seconds since 1970."""
    tx.run(
        _ADD,
        {
            "at": at,
            "request_id": caller.request_id,
            "key_id": caller.key_id,
            "project_id": caller.project_id,
            "address": caller.address,
            "action": action,
            "object_id": object_id,
            "outcome": DONE,
            "times": 1,
        },
    )


def add_many(tx: WriteTx, records: Sequence[Mapping[str, Any]]) -> None:
    """Record what changed nothing: each has every field but the position."""
    tx.run_many(_ADD, records)


def head(tx: ReadTx) -> Link:
    """Return the newest link of the chain."""
    row = tx.first(_HEAD)
    return START if row is None else Link(row.position, row.hash)


def has_waiting(tx: ReadTx) -> bool:
    """Tell whether records wait to be sealed."""
    return tx.first(_WAITING, {"limit": 1}) is not None


def seal(tx: WriteTx, limit: int) -> int:
    """Append up to `limit` records that wait to the chain; return how many.

    A record gets its position here and not when it is written: transactions commit in another order than that in
    which they were given numbers, and what is sealed must never have to make room. One process seals at a time.
    """
    tx.take_turns(_TURNS)
    rows = tx.all(_WAITING, {"limit": limit})
    links = sealed(head(tx), (row[1:] for row in rows)) if rows else []
    pairs = zip(rows, links, strict=True)
    tx.run_many(_SEAL, [{"of": row.seq, "at_position": to.position, "sealed_hash": to.hash} for row, to in pairs])
    return len(rows)


def rows_from(tx: ReadTx, link: Link, limit: int) -> Sequence[Row[Any]]:
    """Return up to `limit` rows of the chain after a link, and before them the link's own, as chain.follow wants it.

    From START on it is really all rows: one that was put in before position 1 is seen too.
    """
    if link.position == 0:
        return tx.all(_FROM, {"first": _BEFORE_ALL, "limit": limit})
    return tx.all(_FROM, {"first": link.position, "limit": limit + 1})


def read_records(tx: ReadTx, wanted: RecordFilter, query: PageQuery) -> Page[AuditRecord]:
    """Return one page of what is sealed, in the order of the chain. Raises InvalidRequest for a wrong cursor.

    Cursors are places in the chain: they need not be in the list, and what comes later never comes before one.
    """
    position = AUDIT.c.position
    conditions = [position.is_not(None), *_conditions(wanted)]
    for name, cursor, forward in (("after", query.after, True), ("before", query.before, False)):
        if cursor is not None:
            mark = position_of(name, cursor)
            conditions.append(position > mark if (query.order == "asc") == forward else position < mark)
    backwards = query.before is not None and query.after is None
    ascending = (query.order == "asc") != backwards
    order = position.asc() if ascending else position.desc()
    rows = tx.all(select(*_WHOLE).where(*conditions).order_by(order).limit(query.limit + 1))
    records = [record_of(row) for row in rows[: query.limit]]
    return page_of(records[::-1] if backwards else records, has_more=len(rows) > query.limit)


def _conditions(wanted: RecordFilter) -> list[ColumnElement[bool]]:
    given = {name: value for name, value in asdict(wanted).items() if value is not None}
    since, until = given.pop("since", None), given.pop("until", None)
    conditions = [AUDIT.c[name] == value for name, value in given.items()]
    if since is not None:
        conditions.append(AUDIT.c.at >= since)
    if until is not None:
        conditions.append(AUDIT.c.at < until)
    return conditions
