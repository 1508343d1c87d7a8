"""How an engine means to carry out the statements of a work: which indexes, any scan, any sort."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Engine, event

from app.db.database import WriteTx

PARTIAL = ("ix_runs_unfinished", "ix_audit_waiting", "ux_audit_position")
LOOKS_AT_VALUES = 5  # times, before PostgreSQL weighs a plan that fits any value

Sent = tuple[str, Sequence[Any]]


class Plan(Struct, frozen=True):
    """What one statement leads to. A primary key's index goes by its table: `messages.id`."""

    statement: str
    indexes: frozenset[str]
    scans: tuple[str, ...]
    sorts: tuple[str, ...]


def plans_of(tx: WriteTx, work: Callable[[WriteTx], object]) -> list[Plan]:
    """Carry out a work and return the plan of each statement that it sent."""
    with listening(tx._connection) as sent:
        work(tx)
    return [plan_of(tx, statement) for statement in sent]


def plan_of(tx: WriteTx, sent: Sent) -> Plan:
    """Return the plan of a statement."""
    explain = _sqlite if tx._connection.dialect.name == "sqlite" else _postgres
    return explain(tx._connection, sent)


@contextmanager
def listening(target: Connection | type[Engine], dialect: str | None = None) -> Iterator[list[Sent]]:
    """Collect the statements that a connection sends for the length of a block, or all connections of all engines.

    With a `dialect` only those in it: a server of another test may be at its chores.
    """
    sent: list[Sent] = []

    def take(at: Connection, _cursor: object, statement: str, params: Any, _context: object, many: bool) -> None:
        if dialect in (None, at.dialect.name):
            sent.append((statement, params[0] if many else params))

    event.listen(target, "before_cursor_execute", take)
    try:
        yield sent
    finally:
        event.remove(target, "before_cursor_execute", take)


def _sqlite(connection: Connection, sent: Sent) -> Plan:
    statement, params = sent
    lines = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", params)]
    found = (re.search(r"USING (?:COVERING )?INDEX (\w+)", line) for line in lines)
    return Plan(
        statement,
        indexes=frozenset(_plain(match[1]) for match in found if match),
        # Reading a partial index from end to end is what it is there for.
        scans=tuple(line for line in lines if line.startswith("SCAN") and not any(one in line for one in PARTIAL)),
        sorts=tuple(line for line in lines if "TEMP B-TREE" in line),
    )


def _postgres(connection: Connection, sent: Sent) -> Plan:
    """Return the plan that PostgreSQL settles on: for a statement it knows it may stop looking at the values."""
    statement, params = sent
    values = ", ".join(_literal(value) for value in params)
    connection.exec_driver_sql(f"PREPARE planned AS {statement}")
    for _ in range(LOOKS_AT_VALUES + 1):
        explain = f"EXPLAIN (FORMAT JSON) EXECUTE planned{f' ({values})' if values else ''}"
        told = connection.exec_driver_sql(explain).scalar()
    connection.exec_driver_sql("DEALLOCATE planned")
    nodes = list(_nodes((json.loads(told) if isinstance(told, str) else told)[0]["Plan"]))
    return Plan(
        statement,
        indexes=frozenset(_plain(node["Index Name"]) for node in nodes if "Index Name" in node),
        scans=tuple(node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"),
        sorts=tuple(node["Node Type"] for node in nodes if "Sort" in node["Node Type"]),
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    return str(value) if isinstance(value, bool | int | float) else "'{}'".format(str(value).replace("'", "''"))


def _plain(index: str) -> str:
    return re.sub(r"^sqlite_autoindex_(\w+)_1$|^(\w+)_pkey$", lambda match: f"{match[1] or match[2]}.id", index)
