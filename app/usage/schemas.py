"""Usage on the wire, and from a row to it."""

from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import Row

from app.keys.limits import Limits
from app.kit.wire import Answer


class Figures(Answer, kw_only=True, frozen=True):
    """What was used in a time. `refused` counts the answers that said that a limit was reached."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    runs: int = 0
    refused: int = 0


class DayFigures(Figures, kw_only=True, frozen=True):
    """What was used on a day, in UTC."""

    day: str


class Bounds(Answer, kw_only=True, frozen=True):
    """The limits of a key or a project, and what is left under each; null where there is none."""

    limits: Limits
    remaining: Limits


class OwnUsage(Answer, kw_only=True, frozen=True):
    """What a key has used in all its projects, newest day first, and what its limits and its project's leave it."""

    object: Literal["usage"] = "usage"
    key_id: str
    project_id: str
    today: Figures
    month: Figures
    days: list[DayFigures]
    key: Bounds
    project: Bounds


class UsageRecord(DayFigures, kw_only=True, frozen=True):
    """What a key used in a project on a day."""

    id: str
    object: Literal["usage.record"] = "usage.record"
    project_id: str
    key_id: str


class UsageFilter(Struct, kw_only=True, frozen=True):
    """Which records an administrator asks for. Days are such as `2026-11-22`, both included."""

    project_id: str | None = None
    key_id: str | None = None
    first_day: str | None = None
    last_day: str | None = None


def record_of(row: Row[Any]) -> UsageRecord:
    """Return a row as administrators receive it."""
    return UsageRecord(id=row.id, project_id=row.project_id, key_id=row.key_id, **asdict(day_of(row)))


def day_of(row: Row[Any]) -> DayFigures:
    """Return a day's row as a key receives it. PostgreSQL's sums are decimals."""
    prompt, completion = int(row.prompt_tokens), int(row.completion_tokens)
    return DayFigures(
        day=row.day,
        requests=int(row.requests),
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        runs=int(row.runs),
        refused=int(row.refused),
    )


def summed(days: Iterable[DayFigures]) -> Figures:
    """Return the figures of several days together."""
    found = list(days)
    return Figures(**{name: sum(getattr(day, name) for day in found) for name in Figures.__struct_fields__})
