"""What the mapped classes of tables.py are made of: their base, the types of columns, and ways to their Core tables."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import BigInteger, Integer, Row, String, Table, Text
from sqlalchemy.orm import DeclarativeBase

# Ids sort by creation only when compared byte by byte; PostgreSQL's default collation does not.
Id = String(64).with_variant(String(64, collation="C"), "postgresql")
UsageId = String(160).with_variant(String(160, collation="C"), "postgresql")
Json = Text
# SQLite numbers rows by itself only where the column is an INTEGER to the letter.
Serial = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """The one metadata that migrations compare with."""


def table(row: type[Base]) -> Table:
    """Return the Core table of a mapped class, for prepared statements."""
    return cast(Table, row.__table__)


def row_of(columns: Mapping[str, Any]) -> Row[Any]:
    """Return columns that were just inserted as the row that a query would return, without asking for it."""
    return cast(Row[Any], SimpleNamespace(**columns))
