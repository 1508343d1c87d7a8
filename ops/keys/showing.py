"""How projects and keys are shown in a shell. Pure."""

import time
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

KEY_COLUMNS = ("id", "name", "project_id", "scopes", "state", "last_used_at")
PROJECT_COLUMNS = ("id", "name", "state", "created_at")


def lines_of(found: Json) -> list[str]:
    """Return an object, a line for each field that says something."""
    shown = {name: text_of(name, value) for name, value in found.items() if name != "object"}
    return [f"{name}: {text}" for name, text in shown.items() if text]


def table_of(rows: Sequence[Json], columns: Sequence[str], now: float) -> list[str]:
    """Return objects as a table with a line each."""
    cells = [list(columns)]
    for row in rows:
        with_state = row | {"state": state_of(row, now)}
        cells.append([text_of(column, with_state[column]) for column in columns])
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def state_of(row: Json, now: float) -> str:
    """Say in a word whether a key or a project lets anybody in."""
    if row.get("revoked_at") is not None:
        return "revoked"
    if row.get("archived_at") is not None:
        return "archived"
    if row.get("expires_at") is not None and now >= row["expires_at"]:
        return "expired"
    return "active"


def text_of(name: str, value: Any) -> str:
    """Write a field's value."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key}={number}" for key, number in value.items() if number is not None)
    if isinstance(value, list):
        return ", ".join(value)
    if name.endswith(("_at", "_until")):
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(value))
    return str(value)
