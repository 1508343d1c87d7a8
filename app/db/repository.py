"""The thin base of the rooms' repositories: keyset pages over Core tables. No query language of its own."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar

from msgspec import json
from sqlalchemy import ColumnElement, Row, Select, Table, and_, bindparam, func, or_, select, tuple_

from app.db.database import ReadTx
from app.errors import InvalidRequest
from app.kit.pages import Page, PageQuery, page_of

T = TypeVar("T", bound=Any)

BY_CREATION = ("created_at", "id")


def read_page(
    tx: ReadTx,
    table: Table,
    scope: ColumnElement[bool],
    keys: tuple[str, ...],
    query: PageQuery,
    render: Callable[[Row[Any]], T],
    *,
    given: Mapping[str, Any] = MappingProxyType({}),
    once: bool = False,
    shown: tuple[ColumnElement[Any], ...] | None = None,
) -> Page[T]:
    """Read one page of the rows in `scope`, ordered by the columns `keys`, whose last makes them unique.

    Cursors are ids of rows in the same scope; one that is not there is a 400. The cost is that of the page,
    whatever the length of the list. `given` are the parameters of the scope. `once`: the scope is made once, and so
    are its statements. `shown` are the columns that are read, if not all.
    """
    marked, page = (_marked_once, _page_once) if once else (_marked, _page)
    params: dict[str, Any] = {**given, "count": query.limit + 1}
    bounds = []
    for name, cursor, forward in (("after", query.after, True), ("before", query.before, False)):
        if cursor is not None:
            mark = tx.first(marked(table, scope, keys), {**given, "cursor": cursor})
            if mark is None:
                raise wrong_cursor(name, cursor)
            params |= {f"{name}_{key}": value for key, value in zip(keys, mark, strict=True)}
            bounds.append((name, (query.order == "asc") == forward))
    # Only `before`: the page that ends at the cursor, so read backwards from it and turn round.
    backwards = query.before is not None and query.after is None
    ascending = (query.order == "asc") != backwards
    rows = tx.all(page(table, scope, keys, tuple(bounds), ascending, shown), params)
    items = [render(row) for row in rows[: query.limit]]
    if backwards:
        items.reverse()
    return page_of(items, has_more=len(rows) > query.limit)


def _marked(table: Table, scope: ColumnElement[bool], keys: tuple[str, ...]) -> Select[Any]:
    """Return what reads where a cursor stands."""
    return select(*(table.c[key] for key in keys)).where(table.c.id == bindparam("cursor"), scope)


def _page(
    table: Table,
    scope: ColumnElement[bool],
    keys: tuple[str, ...],
    bounds: tuple[tuple[str, bool], ...],
    ascending: bool,
    shown: tuple[ColumnElement[Any], ...] | None,
) -> Select[Any]:
    """Return what reads a page. `bounds` name its cursors, each with whether it is what stands above it."""
    columns = tuple_(*(table.c[key] for key in keys))
    conditions = [scope]
    for name, above in bounds:
        mark = tuple_(*(bindparam(f"{name}_{key}", type_=table.c[key].type) for key in keys))
        conditions.append(columns > mark if above else columns < mark)
    order = [table.c[key].asc() if ascending else table.c[key].desc() for key in keys]
    return select(*(shown or table.c)).where(and_(*conditions)).order_by(*order).limit(bindparam("count"))


_marked_once, _page_once = lru_cache(_marked), lru_cache(_page)


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
