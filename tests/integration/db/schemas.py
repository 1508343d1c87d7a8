"""What a database's schema is, as its own catalogue tells it, so that two of them can be compared to the letter."""

import re
from typing import Any

from sqlalchemy import Connection, text

Schema = dict[str, Any]

_POSTGRES_COLUMNS = text("""
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, l.collname
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_collation l ON l.oid = a.attcollation
    WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND c.relnamespace = CAST(:name AS regnamespace)
    ORDER BY 1, 2
""")
_POSTGRES_INDEXES = text("SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = :name ORDER BY 1, 2")
_POSTGRES_CONSTRAINTS = text("""
    SELECT c.relname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.connamespace = CAST(:name AS regnamespace) ORDER BY 1, 2
""")


def schema_of(connection: Connection, *, name: str = "public") -> Schema:
    """Return every table, column, index and constraint but Alembic's own; `name` is PostgreSQL's schema."""
    if connection.dialect.name == "sqlite":
        return _sqlite(connection)
    parts = (_POSTGRES_COLUMNS, _POSTGRES_INDEXES, _POSTGRES_CONSTRAINTS)
    rows = [tuple(row) for part in parts for row in connection.execute(part, {"name": name})]
    return {"rows": [_without(name, row) for row in rows if row[0] != "alembic_version"]}


def _without(name: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(re.sub(rf"\b{name}\.", "", cell) if isinstance(cell, str) else cell for cell in row)


def _sqlite(connection: Connection) -> Schema:
    tables = connection.exec_driver_sql(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'alembic_version' ORDER BY name"
    ).scalars()
    return {table: _sqlite_table(connection, table) for table in tables}


def _sqlite_table(connection: Connection, table: str) -> Schema:
    def ask(pragma: str, of: str = table) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.exec_driver_sql(f"PRAGMA {pragma}('{of}')")]

    indexes = {name: (unique, origin, partial) for _, name, unique, origin, partial in ask("index_list")}
    conditions = {
        name: (sql or "").partition(" WHERE ")[2]
        for name, sql in connection.exec_driver_sql(f"SELECT name, sql FROM sqlite_schema WHERE tbl_name = '{table}'")
    }
    return {
        "columns": sorted(row[1:] for row in ask("table_xinfo")),
        "indexes": {name: (*kind, ask("index_xinfo", name), conditions[name]) for name, kind in indexes.items()},
        "foreign keys": sorted(row[2:] for row in ask("foreign_key_list")),
    }
