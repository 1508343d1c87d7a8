"""What there is to restore: every snapshot, here or in a copy, with what is known about it."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ops.backup.archive import AT_ONCE, Archive
from ops.backup.copying import lacking
from ops.backup.failures import BackupFailed
from ops.backup.manifest import Manifest, time_of
from ops.backup.opening import Parts
from ops.backup.record import Record


def listed(parts: Parts) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the snapshots, newest first, and in words how each copy is. Raises BackupFailed."""
    record = parts.notes.read()
    have = {parts.local.place.label: (parts.local, set(parts.local.ids()))}
    states: dict[str, str] = {}
    for archive in parts.copies:
        label = archive.place.label
        try:
            have[label] = archive, set(archive.ids())
            states[label] = _copy_in_words(parts, record, have[label][1])
        except BackupFailed as failure:
            states[label] = f"not reachable: {failure}"
            continue
        noted = record.copies.get(label)
        if noted is not None and not noted.ok:
            states[label] += f"; what was tried last failed: {noted.words}"
    names = sorted(set().union(*(ids for _, ids in have.values())), reverse=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:  # what is only in a bucket costs a request each
        described = pool.map(lambda name: _described(record, have, name), names)
        return [one for one in described if one is not None], states


def _copy_in_words(parts: Parts, record: Record, there: set[str]) -> str:
    behind = len(lacking(parts.local.ids(), there, record.damaged, time.time(), parts.retention))
    return f"reachable, {behind} snapshot{'' if behind == 1 else 's'} behind"


def _described(record: Record, have: dict[str, tuple[Archive, set[str]]], name: str) -> dict[str, Any] | None:
    """Say what is known of a snapshot; None of one that was pruned meanwhile."""
    (_, local), *copies = have.values()
    nearest = next(archive for archive, ids in have.values() if name in ids)
    try:
        manifest = _manifest(nearest, name)
    except KeyError:
        return None
    if name not in local:
        state = "only in a copy"
    else:
        state = "damaged" if manifest is None or name in record.damaged else "verified"
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
        "copies": [archive.place.label for archive, ids in copies if name in ids],
    }


def _manifest(archive: Archive, name: str) -> Manifest | None:
    """Read what a snapshot is; None where that is damaged, or not to be had any more."""
    try:
        return archive.manifest(name)
    except BackupFailed:
        return None
