"""Which snapshots are kept: all of the last hours, then one of each hour, day and month. Pure."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ops.backup.manifest import time_of

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


class Retention(NamedTuple):
    """For how long: hours, days, days, months."""

    all_h: int = 24
    hourly_d: int = 7
    daily_d: int = 30
    monthly: int = 12


def dropped(names: Iterable[str], good: Callable[[str], bool], now: float, keep: Retention) -> list[str]:
    """Return the snapshots that need not be kept, oldest first.

    Of each hour, day or month the newest good one stays. The newest good one of all stays whatever its age, and so does
    everything that is newer: nothing is dropped that a good snapshot after it does not cover.
    """
    ordered = sorted(names)
    newest_good = next((name for name in reversed(ordered) if good(name)), None)
    if newest_good is None:
        return []
    covered = [name for name in ordered if name < newest_good]
    kept = _kept(covered, good, now, keep)
    return [name for name in covered if name not in kept]


def _kept(names: Sequence[str], good: Callable[[str], bool], now: float, keep: Retention) -> set[str]:
    kept = {name for name in names if now - time_of(name) <= keep.all_h * HOUR_S}
    months = now - keep.monthly * 31 * DAY_S
    for within, form in (
        (now - keep.hourly_d * DAY_S, "%Y%m%d%H"),
        (now - keep.daily_d * DAY_S, "%Y%m%d"),
        (months, "%Y%m"),
    ):
        newest_of: dict[str, str] = {}
        for name in names:  # oldest first: the newest good one of each period is written last
            if time_of(name) >= within and good(name):
                newest_of[datetime.fromtimestamp(time_of(name), UTC).strftime(form)] = name
        kept.update(newest_of.values())
    return kept
