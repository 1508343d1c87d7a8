"""What a restore would do, decided before anything is touched."""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from app.db.migrations import head, known
from ops.backup.archive import Archive
from ops.backup.failures import BackupFailed
from ops.backup.fetch import find, require_key
from ops.backup.manifest import Manifest, at_time, chosen
from ops.backup.opening import Parts

CONTENT = ("threads", "messages", "assistants", "api_keys", "chat_completions")


class Plan(Struct, frozen=True):
    """A restore: of what, from where, onto what. Sizes are in bytes."""

    snapshot: str
    taken_at: float
    age_s: float
    place: str
    size_bytes: int
    free_bytes: int
    schema_from: str
    schema_to: str
    app_version: str
    rows: dict[str, int]
    target: str
    keeps_present: bool
    encrypted: bool
    not_asked: dict[str, str]


class Chosen(Struct, frozen=True):
    """A snapshot that is whole, and where it was found; and in words why a place could not be asked."""

    archive: Archive
    manifest: Manifest
    not_asked: dict[str, str] = {}


def choose(parts: Parts, wanted: str | None, moment: float | None) -> Chosen:
    """Find the snapshot that is meant and read every file of it. Raises BackupFailed."""
    names, not_asked = reachable(parts)
    if not names:
        reasons = "".join(f"; {label}: {words}" for label, words in not_asked.items())
        raise BackupFailed(
            "other", f"there is no snapshot in {parts.settings.path}, or in a copy that answers{reasons}"
        )
    if moment is not None:
        name = at_time(names, moment)
    elif wanted in (None, "latest"):
        name = newest_with_content(parts, names, not_asked)
    else:
        name = chosen(names, str(wanted))
    if name is None:
        raise BackupFailed("other", f"no one snapshot is {wanted or 'that old'}; `python -m ops backups` lists them")
    archive, manifest = find(parts.archives, name)
    require_key(archive, manifest)
    if manifest.schema_revision not in known():
        raise BackupFailed(
            "other",
            f"snapshot {name} has schema revision {manifest.schema_revision} of release {manifest.app_version}, which "
            f"this release does not know (its newest is {head()}): restore it with that release or a newer one",
        )
    return Chosen(archive, manifest, not_asked)


def newest_with_content(parts: Parts, names: Sequence[str], not_asked: Mapping[str, str]) -> str:
    """Return the newest snapshot that holds something; of a state that is all empty, the newest.

    Raises BackupFailed where all that was found is empty and a place that could not be asked may have more.

    After a disk was lost the API begins with an empty state, and the sidecar has a snapshot of it before anybody can
    say `restore`. Who wants an empty state back names it.
    """
    for name in reversed(names):
        for archive in parts.archives:
            try:
                manifest = archive.manifest(name)
            except (KeyError, BackupFailed):
                continue
            if any(manifest.rows.get(table) for table in CONTENT):
                return name
            break
        else:
            return name  # damaged everywhere: let it be said, and not passed over
    if not_asked:
        reasons = "; ".join(f"{label}: {words}" for label, words in not_asked.items())
        raise BackupFailed("copy_unreachable", f"what was found holds nothing, and not every place answers: {reasons}")
    return names[-1]


def reachable(parts: Parts) -> tuple[list[str], dict[str, str]]:
    """List the snapshots of all places; and why a place does not answer, which is no reason not to use the others."""
    names: set[str] = set()
    not_asked = {}
    for archive in parts.archives:
        try:
            names.update(archive.ids())
        except BackupFailed as failure:
            not_asked[archive.place.label] = str(failure)
    return sorted(names), not_asked


def plan_of(found: Chosen, target: Path, *, keeps_present: bool) -> Plan:
    """Say what the restore of a snapshot onto a file would do."""
    manifest = found.manifest
    folder = next(path for path in (target.parent, *target.resolve().parents) if path.is_dir())
    return Plan(
        snapshot=manifest.id,
        taken_at=manifest.taken_at,
        age_s=round(time.time() - manifest.taken_at, 1),
        place=found.archive.place.label,
        size_bytes=manifest.size_bytes,
        free_bytes=shutil.disk_usage(folder).free,
        schema_from=manifest.schema_revision,
        schema_to=head(),
        app_version=manifest.app_version,
        rows=manifest.rows,
        target=str(target),
        keeps_present=keeps_present,
        encrypted=bool(manifest.recipients),
        not_asked=found.not_asked,
    )
