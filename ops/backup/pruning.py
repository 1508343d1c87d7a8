"""Removes what need not be kept any more from a place, and what no snapshot names."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ops.backup.archive import OBJECTS, SNAPSHOTS, Archive
from ops.backup.failures import Damaged
from ops.backup.manifest import Manifest
from ops.backup.places import Place
from ops.backup.retention import Retention, dropped


class Pruned(NamedTuple):
    """What was removed, and what should be there and is not."""

    snapshots: list[str]
    files: int
    missing: frozenset[str]


def prune(archive: Archive, bad: frozenset[str], now: float, keep: Retention) -> Pruned:
    """Drop snapshots by the rule, then the files that only they named. `bad` are those known to be damaged.

    Manifests go first: a prune that is killed leaves files that the next one removes, and never a snapshot without its
    files. While a snapshot that stays cannot be read no file is removed: it cannot be told which ones it needs.
    """
    manifests = {name: _read(archive, name) for name in archive.ids()}
    gone = dropped(manifests, lambda name: name not in bad and manifests[name] is not None, now, keep)
    archive.place.delete(f"{SNAPSHOTS}{name}.json" for name in gone)
    staying = [manifest for name, manifest in manifests.items() if name not in set(gone)]
    try:
        needed = _needed(archive, staying)
    except Damaged:
        return Pruned(gone, 0, frozenset())
    there = {name.rpartition("/")[2]: name for name, _ in archive.place.names(OBJECTS)}
    spare = [path for name, path in there.items() if name not in needed]
    archive.place.delete(spare)
    return Pruned(gone, len(spare), frozenset(needed - there.keys()))


def _read(archive: Archive, name: str) -> Manifest | None:
    try:
        return archive.manifest(name)
    except (Damaged, KeyError):
        return None


def _needed(archive: Archive, manifests: Iterable[Manifest | None]) -> set[str]:
    """Return the files that snapshots name. Raises Damaged."""
    lists: set[str] = set()
    needed: set[str] = set()
    for manifest in manifests:
        if manifest is None:
            raise Damaged("a manifest cannot be read")
        lists.update(manifest.lists)
        if manifest.journal is not None:
            needed.add(manifest.journal.stored)
    for name in lists:
        needed.update(chunk.stored for chunk in archive.chunks(name))
    return needed | lists


def needing(archive: Archive, damaged: frozenset[str]) -> frozenset[str]:
    """Return the snapshots that need one of some files, and those that cannot be read."""
    wanting: dict[str, bool] = {}

    def wants(name: str) -> bool:
        if name not in wanting:
            try:
                wanting[name] = name in damaged or any(chunk.stored in damaged for chunk in archive.chunks(name))
            except Damaged:
                wanting[name] = True
        return wanting[name]

    def needs(manifest: Manifest | None) -> bool:
        if manifest is None or (manifest.journal is not None and manifest.journal.stored in damaged):
            return True
        return any(wants(name) for name in manifest.lists)

    return frozenset(name for name in archive.ids() if needs(_read(archive, name)))


class Borrowing:
    """A place whose manifests and lists are read from a nearer one that has the same: both are named by what they say.

    Reading a bucket's lists to prune it would cost a request for each.
    """

    def __init__(self, place: Place, near: Place) -> None:
        self.label = place.label
        self._place = place
        self._near = near

    def get(self, name: str) -> bytes:
        """Read the nearer one if it has the file."""
        try:
            return self._near.get(name)
        except KeyError:
            return self._place.get(name)

    def put(self, name: str, data: bytes) -> None:
        """Write into the place itself."""
        self._place.put(name, data)

    def settle(self) -> None:
        """Wait until what was put lasts."""
        self._place.settle()

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """List the place itself."""
        return self._place.names(prefix)

    def delete(self, names: Iterable[str]) -> None:
        """Remove from the place itself."""
        self._place.delete(names)
