"""Statements on usage. A row is a key's figures in a project on a day; processes add to it, none sets it."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import asdict
from sqlalchemy import ColumnElement, Row, and_, case, func, select, text

from app.db.database import ReadTx, WriteTx
from app.db.tables import UsageRow, table
from app.limits.calendar import day_text, month_start, next_month
from app.limits.ledger import COUNTED, Counts, KeyTotal, UsageOf

USAGE = table(UsageRow)

LAST = "~"
"""Sorts after everything that follows a day in an id."""

_COLUMNS = ("id", "day", "project_id", "key_id", *COUNTED)
# Both engines take this text; SQLAlchemy would want one construct for each.
_ADD = text(
    # Names of our own columns; every value is bound.
    f"INSERT INTO usage ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "  # noqa: S608
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = usage.{name} + excluded.{name}' for name in COUNTED)}"
)
_TOKENS = USAGE.c.prompt_tokens + USAGE.c.completion_tokens


def usage_id(name: UsageOf) -> str:
    """Return the id of a row: ids sort by day, then project, then key."""
    return f"{day_text(name.day)}_{name.project_id}_{name.key_id}"


def add_usage(tx: WriteTx, figures: Mapping[UsageOf, Counts]) -> None:
    """Add figures to what is stored."""
    tx.run_many(
        _ADD,
        [
            {
                "id": usage_id(name),
                "day": day_text(name.day),
                "project_id": name.project_id,
                "key_id": name.key_id,
                **asdict(counts),
            }
            for name, counts in figures.items()
        ],
    )


def between(first: str | None, last: str | None) -> ColumnElement[bool]:
    """Tell which rows are of days from one to another, both included; None is no bound."""
    bounds = [USAGE.c.id >= first] if first else []
    return and_(True, *bounds, *([USAGE.c.id < last + LAST] if last else []))


def totals(tx: ReadTx, day: int) -> list[KeyTotal]:
    """Return every key's tokens of a day, and of its month."""
    today = day_text(day)
    month = between(day_text(month_start(day)), day_text(next_month(day) - 1))
    of_day = func.sum(case((USAGE.c.day == today, _TOKENS), else_=0)).label("of_day")
    holders = USAGE.c.project_id, USAGE.c.key_id
    rows = tx.all(select(*holders, of_day, func.sum(_TOKENS).label("of_month")).where(month).group_by(*holders))
    return [KeyTotal(row.project_id, row.key_id, int(row.of_day), int(row.of_month)) for row in rows]


def days_of(tx: ReadTx, key_id: str, first: int, last: int) -> Sequence[Row[Any]]:
    """Return a key's figures by day in all its projects, newest first."""
    sums = [func.sum(USAGE.c[name]).label(name) for name in COUNTED]
    days = and_(USAGE.c.key_id == key_id, between(day_text(first), day_text(last)))
    return tx.all(select(USAGE.c.day, *sums).where(days).group_by(USAGE.c.day).order_by(USAGE.c.day.desc()))
