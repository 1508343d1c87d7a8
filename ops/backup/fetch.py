"""Brings a snapshot back as one file, every piece of it compared with its checksum on the way."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.backup.archive import AT_ONCE, Archive
from ops.backup.database_file import check
from ops.backup.failures import BackupFailed, Damaged, NoKey, on_disk
from ops.backup.manifest import Chunk, Manifest
from ops.backup.snapshot import Reached, pass_by


def fetch(archive: Archive, manifest: Manifest, target: Path, reached: Reached = pass_by) -> None:
    """Write the database of a snapshot and put it on disk. Raises BackupFailed; then no file is left."""
    require_key(archive, manifest)
    whole = hashlib.sha256()
    try:
        with on_disk(target), target.open("xb") as file, ThreadPoolExecutor(AT_ONCE) as pool:
            os.fchmod(file.fileno(), 0o600)
            for chunks in archive.lists(manifest):
                for plain in pool.map(archive.get_chunk, chunks):
                    whole.update(plain)
                    file.write(plain)
                reached("list")
            file.flush()
            os.fsync(file.fileno())
        if whole.hexdigest() != manifest.sha256:
            raise Damaged(f"snapshot {manifest.id} is damaged: its checksum is another")
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def prove(path: Path, manifest: Manifest) -> None:
    """Check a fetched file as the database that its manifest tells of. Raises Damaged."""
    found = check(path)
    told = (manifest.schema_revision, manifest.watermarks, manifest.rows)
    if (found.marks.revision, found.marks.watermarks, found.rows) != told:
        raise Damaged(f"snapshot {manifest.id} is damaged: it does not hold the rows that its manifest tells of")


def require_key(archive: Archive, manifest: Manifest) -> None:
    """Raise NoKey for a snapshot that cannot be opened here, before much is read."""
    if not manifest.recipients:
        return
    if not archive.sealer.has_identity:
        raise NoKey
    archive.get_chunk(next(archive.lists(manifest))[0])


def revocations_since(archive: Archive, manifest: Manifest) -> bytes:
    """Return every line of the journals of revocations from a snapshot to the newest, each once. Raises BackupFailed.

    A journal that was lost with its disk began anew, so the newest one alone may lack what older ones have.
    """
    journals = {}
    for name in archive.ids():
        if name >= manifest.id:
            journal = manifest.journal if name == manifest.id else _journal(archive, name)
            if journal is not None:
                journals[journal.plain] = journal
    lines = (line for journal in journals.values() for line in archive.get_chunk(journal).splitlines(keepends=True))
    return b"".join(dict.fromkeys(line for line in lines if line.endswith(b"\n")))


def _journal(archive: Archive, name: str) -> Chunk | None:
    """Return the journal of a snapshot, None also where it cannot be read: others have what it had."""
    try:
        return archive.manifest(name).journal
    except (Damaged, KeyError):
        return None


def find(archives: list[Archive], name: str) -> tuple[Archive, Manifest]:
    """Return a snapshot from the first place that has it whole: the store here, or else a copy. Raises BackupFailed."""
    problem: BackupFailed | None = None
    for archive in archives:
        try:
            manifest = archive.manifest(name)
            archive.check_stored(manifest)
            return archive, manifest
        except KeyError:
            continue
        except BackupFailed as failure:
            problem = problem or failure
    raise problem or BackupFailed("other", f"there is no snapshot {name}")
