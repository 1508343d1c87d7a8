"""Places in threads: which are free, and which come next. A message or an item takes one, in the order of lines."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import UNSET

from app.db.locks import lapsed
from app.kit.ids import COMPLETION_PREFIX
from app.moving.lines import ItemLine, Line, MessageLine
from app.moving.shelf import Held


class Threads(Protocol):
    """Where places are looked for."""

    def taken(self, thread_id: str, positions: Sequence[int]) -> set[int]:
        """Return which of these places in a thread are not free."""
        ...

    def newest_at(self, thread_id: str) -> int:
        """Return when the last message of a thread was made."""
        ...


class Tail:
    """The end of a thread: its newest place and when its last message was made."""

    def __init__(self, newest: int, newest_at: int, taken: set[int]) -> None:
        self.newest = newest
        self.newest_at = newest_at
        self._taken = taken

    def take(self, line: MessageLine | ItemLine) -> tuple[int, bool]:
        """Take the place that a line wants, or the next one; tell whether a message comes late for that."""
        if line.position is not UNSET and line.position not in self._taken:
            position, late = line.position, False
        else:
            position, late = self.newest + 1, isinstance(line, MessageLine) and line.created_at < self.newest_at
        self._taken.add(position)
        self.reach(position)
        self.newest_at = max(self.newest_at, line.created_at)
        return position, late

    def reach(self, position: int) -> None:
        """Note that a place is taken."""
        self.newest = max(self.newest, position)


class Tails:
    """The ends of the threads of a batch."""

    def __init__(self, threads: Threads, at: int) -> None:
        self._threads = threads
        self._lapsed = lapsed(at)
        self._wanted: dict[str, list[int]] = {}
        self._tails: dict[str, Tail] = {}
        self._began: dict[str, int] = {}

    def want(self, lines: Iterable[Line]) -> None:
        """Note which places will be asked for, to look for them at once."""
        for line in lines:
            if isinstance(line, MessageLine | ItemLine) and line.position is not UNSET and line.thread_id is not UNSET:
                self._wanted.setdefault(line.thread_id, []).append(line.position)

    def of(self, thread: Held, called: str, *, is_new: bool) -> Tail:
        """Return a thread's end; `called` is how lines speak of it. There is nothing yet in one that is new."""
        key: str = thread["id"]
        if key not in self._tails:
            taken = set() if is_new else self._threads.taken(key, self._wanted.get(called, []))
            newest_at = 0 if is_new else self._threads.newest_at(key)
            self._tails[key] = Tail(thread["last_position"], newest_at, taken)
            self._began[key] = thread["last_position"]
        return self._tails[key]

    def moved(self) -> Mapping[str, int]:
        """Return the newest places of threads that have come further."""
        return {key: tail.newest for key, tail in self._tails.items() if tail.newest > self._began[key]}

    def is_free(self, thread: Held) -> bool:
        """Tell whether nothing is at work in a thread: the rule of db/locks.py, for a row that is held."""
        holder = thread["active_run_id"]
        return holder is None or (holder.startswith(COMPLETION_PREFIX) and holder < self._lapsed)
