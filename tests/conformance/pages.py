"""What a list answer must be besides well-formed: ids, length and order that agree with the request."""

from collections.abc import Mapping, Sequence
from typing import Any

DEFAULT_LIMIT = 20


def page_fault(page: Mapping[str, Any], query: Mapping[str, Sequence[str]], order: str = "desc") -> str | None:
    """Say what is wrong with a page, `order` being its order unless asked otherwise; None where nothing is."""
    data = page["data"]
    ends = (data[0]["id"], data[-1]["id"]) if data else ("", "")
    if (page["first_id"], page["last_id"]) != ends:
        return f"$.first_id, $.last_id: {page['first_id']!r}, {page['last_id']!r} instead of {ends}"
    limit = query.get("limit", [str(DEFAULT_LIMIT)])[-1]
    order = query.get("order", [order])[-1]
    if not limit.isdecimal() or order not in ("asc", "desc"):
        return f"$: a page for limit {limit!r} and order {order!r}"
    if len(data) > int(limit):
        return f"$.data: {len(data)} objects where the limit is {limit}"
    times = [item.get("created_at", item.get("created", 0)) for item in data]
    if times != sorted(times, reverse=order == "desc"):
        return f"$.data: time of creation is not in {order}ending order: {times}"
    return None
