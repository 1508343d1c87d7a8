"""What there is to restore: every snapshot, here or in a copy, with what is known about it."""

from typing import Any

from ops.backup.failures import BackupFailed, Damaged
from ops.backup.manifest import Manifest, time_of
from ops.backup.opening import Parts
from ops.backup.record import Record


def listed(parts: Parts) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the snapshots, newest first, and in words how each copy is. Raises BackupFailed."""
    record = parts.notes.read()
    here = set(parts.local.ids())
    copies: dict[str, set[str]] = {}
    states: dict[str, str] = {}
    for archive in parts.copies:
        label = archive.place.label
        try:
            copies[label] = set(archive.ids())
            states[label] = f"reachable, {len(here - copies[label])} snapshots behind"
        except BackupFailed as failure:
            states[label] = f"not reachable: {failure}"
    names = here.union(*copies.values())
    return [_described(parts, record, copies, here, name) for name in sorted(names, reverse=True)], states


def _described(parts: Parts, record: Record, copies: dict[str, set[str]], here: set[str], name: str) -> dict[str, Any]:
    manifest, state = _read(parts, record, name) if name in here else (None, "only in a copy")
    drill = record.drills.get(name)
    return {
        "id": name,
        "taken_at": time_of(name) if manifest is None else manifest.taken_at,
        "size_bytes": None if manifest is None else manifest.size_bytes,
        "new_bytes": None if manifest is None else manifest.new_bytes,
        "messages": None if manifest is None else manifest.rows.get("messages", 0),
        "schema_revision": None if manifest is None else manifest.schema_revision,
        "app_version": None if manifest is None else manifest.app_version,
        "encrypted": None if manifest is None else bool(manifest.recipients),
        "state": state,
        "drill": None if drill is None else {"at": drill.at, "ok": drill.ok, "words": drill.words},
        "copies": [label for label, names in copies.items() if name in names],
    }


def _read(parts: Parts, record: Record, name: str) -> tuple[Manifest | None, str]:
    try:
        manifest = parts.local.manifest(name)
    except (Damaged, KeyError):
        return None, "damaged"
    return manifest, "damaged" if name in record.damaged else "verified"
