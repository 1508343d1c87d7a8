"""The thin base of the rooms' repositories: keyset pages over Core tables. No query language of its own."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec import json
from sqlalchemy import ColumnElement, Row, Table, and_, func, or_, select, tuple_

from app.db.database import ReadTx
from app.errors import InvalidRequest
from app.kit.pages import Page, PageQuery, page_of

T = TypeVar("T", bound=Any)


def read_page(
    tx: ReadTx,
    table: Table,
    scope: ColumnElement[bool],
    keys: Sequence[str],
    query: PageQuery,
    render: Callable[[Row[Any]], T],
    *,
    shown: Sequence[ColumnElement[Any]] | None = None,
) -> Page[T]:
    """Read one page of the rows in `scope`, ordered by the columns `keys`, whose last makes them unique.

    Cursors are ids of rows in the same scope; one that is not there is a 400. The cost is that of the page,
    whatever the length of the list. `shown` are the columns that are read, if not all.
    """
    columns = tuple_(*(table.c[key] for key in keys))
    conditions = [scope]
    for name, cursor, forward in (("after", query.after, True), ("before", query.before, False)):
        if cursor is not None:
            mark = tuple_(*_cursor_values(tx, table, scope, keys, name, cursor))
            conditions.append(columns > mark if (query.order == "asc") == forward else columns < mark)
    # Only `before`: the page that ends at the cursor, so read backwards from it and turn round.
    backwards = query.before is not None and query.after is None
    ascending = (query.order == "asc") != backwards
    order = [table.c[key].asc() if ascending else table.c[key].desc() for key in keys]
    rows = tx.all(select(*(shown or table.c)).where(and_(*conditions)).order_by(*order).limit(query.limit + 1))
    items = [render(row) for row in rows[: query.limit]]
    if backwards:
        items.reverse()
    return page_of(items, has_more=len(rows) > query.limit)


def _cursor_values(
    tx: ReadTx, table: Table, scope: ColumnElement[bool], keys: Sequence[str], name: str, cursor: str
) -> Sequence[Any]:
    row = tx.first(select(*(table.c[key] for key in keys)).where(table.c.id == cursor, scope))
    if row is None:
        raise wrong_cursor(name, cursor)
    return tuple(row)


def wrong_cursor(name: str, cursor: str) -> InvalidRequest:
    """Return the refusal of a cursor that is not in its list."""
    text = f"Invalid '{name}': no object with id '{cursor}' found in this list."
    return InvalidRequest(text, param=name, code="invalid_value")


def has_pair(documents: ColumnElement[str], key: str, value: str) -> ColumnElement[bool]:
    """Tell which rows' JSON map has this pair of strings.

    Works on the text as kit/wire.py writes it, where a quote inside a string is never bare: it holds on both engines.
    What stands before the pair is part of it, lest the end of a longer key with a quote in it be taken for the key.
    """
    pair = f"{json.encode(key).decode()}:{json.encode(value).decode()}"
    first, later = func.replace(documents, "{" + pair, ""), func.replace(documents, "," + pair, "")
    return or_(first != documents, later != documents)
