"""What every key has used, by day: figures that are not stored yet, and tokens of today and of this month.

Pure memory. keeper.py stores the first and reads the second. Everything here is done in one step of the event loop,
so nobody sees half of it.
"""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from msgspec import Struct

from app.kit.clock import Clock
from app.limits.calendar import day_of, month_start


class Counts(Struct):
    """Figures of one key in one project on one day."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    runs: int = 0
    refused: int = 0

    def add(self, other: "Counts") -> None:
        """Add other figures to these."""
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))


COUNTED = Counts.__struct_fields__


class UsageOf(NamedTuple):
    """Whose figures, and of which day."""

    day: int
    project_id: str
    key_id: str


class Spent(Struct):
    """Tokens of a key or a project."""

    day: int = 0
    month: int = 0


class KeyTotal(NamedTuple):
    """Tokens that the store knows of, for one key in one project."""

    project_id: str
    key_id: str
    day: int
    month: int


class Ledger:
    """Counts usage. `stale` says that the totals of the day are to be read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._day = day_of(clock.now())
        self._unstored: dict[UsageOf, Counts] = {}
        self._keys: dict[str, Spent] = {}
        self._projects: dict[str, Spent] = {}
        self.stale = True

    def today(self) -> int:
        """Return the day. Whichever way the wall clock went, the figures of a day stay that day's."""
        day = day_of(self._clock.now())
        if day != self._day:
            self._turn_to(day)
        return day

    def counts(self, key_id: str, project_id: str) -> Counts:
        """Return the figures to which today's are added."""
        name = UsageOf(self.today(), project_id, key_id)
        counts = self._unstored.get(name)
        if counts is None:
            counts = self._unstored[name] = Counts()
        return counts

    def add_tokens(self, key_id: str, project_id: str, prompt_tokens: int, completion_tokens: int) -> Counts:
        """Count tokens for a key and its project."""
        counts = self.counts(key_id, project_id)
        counts.prompt_tokens += prompt_tokens
        counts.completion_tokens += completion_tokens
        tokens = prompt_tokens + completion_tokens
        self._spend(key_id, project_id, tokens, tokens)
        return counts

    def spent_by_key(self, key_id: str) -> Spent:
        """Return a key's tokens of today and this month, in all projects."""
        self.today()
        return self._keys.get(key_id) or Spent()

    def spent_by_project(self, project_id: str) -> Spent:
        """Return a project's tokens of today and this month."""
        self.today()
        return self._projects.get(project_id) or Spent()

    def take_unstored(self, most: int) -> dict[UsageOf, Counts]:
        """Hand out figures to be stored together, in the order in which every replica does, lest two wait in a ring."""
        names = sorted(islice(self._unstored, most))
        return {name: self._unstored.pop(name) for name in names}

    def put_back(self, figures: dict[UsageOf, Counts]) -> None:
        """Take back what could not be stored."""
        for name, counts in figures.items():
            self._unstored.setdefault(name, Counts()).add(counts)

    def know(self, day: int, stored: Iterable[KeyTotal]) -> None:
        """Begin from what the store knows of a day and its month. What is not stored yet is added to it."""
        if day != self.today():
            return
        self._keys.clear()
        self._projects.clear()
        for total in stored:
            self._spend(total.key_id, total.project_id, total.day, total.month)
        for name, counts in self._unstored.items():
            tokens = counts.prompt_tokens + counts.completion_tokens
            if tokens and month_start(name.day) == month_start(day):
                self._spend(name.key_id, name.project_id, tokens if name.day == day else 0, tokens)
        self.stale = False

    def _spend(self, key_id: str, project_id: str, of_day: int, of_month: int) -> None:
        _add(self._keys, key_id, of_day, of_month)
        _add(self._projects, project_id, of_day, of_month)

    def _turn_to(self, day: int) -> None:
        """Begin a day with nothing spent, until the store says what was: after a jump of the clock there may be."""
        same_month = month_start(day) == month_start(self._day)
        for holders in (self._keys, self._projects):
            for spent in holders.values():
                spent.day = 0
            if not same_month:
                holders.clear()
        self._day, self.stale = day, True


def _add(holders: dict[str, Spent], holder: str, of_day: int, of_month: int) -> None:
    spent = holders.get(holder)
    if spent is None:
        holders[holder] = Spent(of_day, of_month)
    else:
        spent.day += of_day
        spent.month += of_month
