"""Brings a second place up to the first: what it lacks is put there, read back and compared, the newest first."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from ops.backup.archive import AT_ONCE, OBJECTS, SNAPSHOTS, Archive, path_of
from ops.backup.failures import Damaged
from ops.backup.manifest import Manifest
from ops.backup.retention import Retention, dropped
from ops.backup.snapshot import Reached, pass_by

Clock = Callable[[], float]


def lacking(here: Iterable[str], there: Iterable[str], bad: frozenset[str], now: float, keep: Retention) -> list[str]:
    """Return the snapshots that a copy should have and has not, newest first.

    Not those that are damaged here, nor those that it would prune again: each place prunes at an hour of its own.
    """
    ours, theirs = set(here), set(there)
    pruned = dropped(ours | theirs, lambda name: name not in bad, now, keep)
    return sorted(ours - theirs - bad - set(pruned), reverse=True)


class Copier:
    """Copies snapshots from the store here to one other place. Used by one thread at a time."""

    def __init__(self, local: Archive, there: Archive, keep: Retention | None = None, clock: Clock = time.time) -> None:
        self.there = there
        self._local = local
        self._keep = keep or Retention()
        self._clock = clock
        self._known: set[str] | None = None
        self._have: set[str] | None = None

    def look(self) -> None:
        """Ask which snapshots are there. Raises BackupFailed."""
        self._have = set(self.there.ids())

    def missing(self, bad: frozenset[str] = frozenset()) -> list[str]:
        """Return the snapshots that were not there at the last look and were not brought since, newest first."""
        return lacking(self._local.ids(), self._have or (), bad, self._clock(), self._keep)

    def bring(
        self,
        stopped: Callable[[], bool] = lambda: False,
        reached: Reached = pass_by,
        bad: frozenset[str] = frozenset(),
    ) -> int:
        """Copy what was missing at the last look; return how many snapshots were copied. Raises BackupFailed.

        One that is damaged keeps no other from it.
        """
        if self._have is None:
            self.look()
        copied = 0
        problem: Damaged | None = None
        for name in self.missing(bad):
            if stopped():
                break
            try:
                copied += self._copy(name, reached)
            except Damaged as damage:
                self._known, problem = None, problem or damage
            except BaseException:
                self._known = None  # ask again what is there
                raise
        if problem is not None:
            raise problem
        return copied

    def _copy(self, name: str, reached: Reached) -> bool:
        try:
            manifest = self._local.manifest(name)
            self._put_all(self._needed(manifest))
        except (Damaged, KeyError):
            if name not in self._local.ids():
                return False  # pruned meanwhile
            raise
        reached("files")
        path = f"{SNAPSHOTS}{name}.json"
        self.there.place.settle()
        self.there.place.put(path, self._local.place.get(path))
        self.there.place.settle()
        self.there.manifest(name)
        assert self._have is not None
        self._have.add(name)
        reached("manifest")
        return True

    def _needed(self, manifest: Manifest) -> list[str]:
        """Return the files that a snapshot needs and that are not there."""
        if self._known is None:
            self._known = {name.rpartition("/")[2] for name, _ in self.there.place.names(OBJECTS)}
        known = self._known
        needed = [manifest.journal.stored] if manifest.journal is not None else []
        for name in manifest.lists:
            needed += [chunk.stored for chunk in self._local.chunks(name)] + [name]
        return [name for name in dict.fromkeys(needed) if name not in known]

    def _put_all(self, names: list[str]) -> None:
        assert self._known is not None
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for name in pool.map(self._put, names):
                self._known.add(name)

    def _put(self, name: str) -> str:
        self.there.place.put(path_of(name), self._local.get(name))
        self.there.get(name)
        return name

    def forget(self) -> None:
        """Ask again what is there: files were removed."""
        self._known = None
