"""Days and months of the calendar in UTC. A day is a number, counted from 1970-01-01."""

from datetime import UTC, date, datetime

DAY_S = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


def day_of(second: int) -> int:
    """Return the day of a second since 1970."""
    return second // DAY_S


def day_text(day: int) -> str:
    """Return a day as `2026-11-22`."""
    return _date(day).isoformat()


def day_number(text: str) -> int:
    """Return the day that a text such as `2026-11-22` names. Raises ValueError."""
    return date.fromisoformat(text).toordinal() - _EPOCH


def month_start(day: int) -> int:
    """Return the first day of a day's month."""
    return _number(_date(day).replace(day=1))


def next_month(day: int) -> int:
    """Return the first day of the month after a day's."""
    first = _date(day).replace(day=1)
    return _number(first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1))


def moment(day: int) -> str:
    """Return when a day begins, as `2026-11-22T00:00:00Z`."""
    return datetime.fromtimestamp(day * DAY_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _date(day: int) -> date:
    return date.fromordinal(_EPOCH + day)


def _number(day: date) -> int:
    return day.toordinal() - _EPOCH
