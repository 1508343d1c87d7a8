"""Reads stored files again and compares them with their names; mends from another place what is damaged."""

from collections.abc import Iterator, Sequence

from ops.backup.archive import OBJECTS, SNAPSHOTS, Archive, path_of
from ops.backup.failures import BackupFailed, Damaged

PARTS = 256
DAMAGED = "damaged/"


def due(before: float, now: float, every_s: float) -> Iterator[int]:
    """Yield the parts of the store whose turn came between two moments; each comes once in `every_s`."""
    last, current = (int(moment / every_s * PARTS) for moment in (before, now))
    yield from (number % PARTS for number in range(max(last + 1, current - PARTS + 1), current + 1))


def scrub(archive: Archive, part: int, others: Sequence[Archive]) -> tuple[int, frozenset[str]]:
    """Read one part; return how many files were read, and the names of those that stay damaged."""
    names = [name.rpartition("/")[2] for name, _ in archive.place.names(f"{OBJECTS}{part:02x}")]
    damaged = frozenset(name for name in names if not _sound(archive, name) and not mend(archive, name, others))
    return len(names), damaged


def _sound(archive: Archive, name: str) -> bool:
    try:
        archive.get(name)
    except Damaged:
        return False
    return True


def mend(archive: Archive, name: str, others: Sequence[Archive]) -> bool:
    """Put a file back from another place that has it whole. If none has, set it aside, so that nobody takes it up."""
    for other in others:
        try:
            archive.place.put(path_of(name), other.get(name))
            archive.place.settle()
            archive.get(name)
        except BackupFailed:
            continue
        return True
    try:
        archive.place.put(f"{DAMAGED}{name}", archive.place.get(path_of(name)))
    except KeyError:
        return False
    archive.place.delete([path_of(name)])
    return False


def scrub_manifests(archive: Archive, others: Sequence[Archive]) -> frozenset[str]:
    """Read every manifest; return those that stay damaged."""
    found = set()
    for name in archive.ids():
        try:
            archive.manifest(name)
        except Damaged:
            if not _mend_manifest(archive, name, others):
                found.add(name)
        except KeyError:
            continue
    return frozenset(found)


def _mend_manifest(archive: Archive, name: str, others: Sequence[Archive]) -> bool:
    for other in others:
        try:
            other.manifest(name)
            archive.place.put(f"{SNAPSHOTS}{name}.json", other.place.get(f"{SNAPSHOTS}{name}.json"))
            archive.place.settle()
        except (BackupFailed, KeyError):
            continue
        return True
    return False
