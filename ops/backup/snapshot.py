"""Takes a snapshot: copied in one step, checked as a database, stored as chunks, read back, and only then counted."""

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from app import __version__
from ops.backup.archive import AT_ONCE, Archive, Known
from ops.backup.database_file import ENGINE, Checked, check, copy
from ops.backup.failures import BackupFailed, Damaged, on_disk
from ops.backup.manifest import CHUNK_BYTES, LIST_CHUNKS, Chunk, Manifest, new_id, sha256
from ops.backup.source import SETTLE_S, Source, StallWatch

Reached = Callable[[str], None]


def pass_by(step: str) -> None:
    """Say nothing of a step."""


class Stored(NamedTuple):
    """What became of a file: its lists, its checksum, the chunks they name, and what was new."""

    lists: tuple[str, ...]
    sha256: str
    size_bytes: int
    known: Known
    new_bytes: int


class Taken(NamedTuple):
    """A snapshot; `is_new` is false when nothing differs from the one before, which then stands for this one."""

    manifest: Manifest
    is_new: bool
    chunks: int


class Snapshotter:
    """Takes snapshots of one source into one archive. `recipients` are those of the archive's sealer."""

    def __init__(self, source: Source, archive: Archive, scratch: Path, recipients: tuple[str, ...]) -> None:
        self.source = source
        self.archive = archive
        self.scratch = scratch
        self.recipients = recipients
        self._known: tuple[str, Known] | None = None

    def forget(self) -> None:
        """Look anew for what is stored: files were found damaged or were taken away."""
        self._known = None

    def _known_in(self, newest: Manifest | None) -> Known:
        """Return what need not be stored again. What is remembered holds only while its snapshot is the newest."""
        if self._known is None or newest is None or self._known[0] != newest.id:
            return self.archive.known(self.recipients)
        return self._known[1]

    def take(self, reached: Reached = pass_by, keep: Path | None = None) -> Taken | None:
        """Take one; None when there is no state yet. `keep` is where the checked copy goes, for a drill.

        Raises BackupFailed; then nothing counts that did not before.
        """
        began = time.time()
        if not self.source.database.exists():
            raise BackupFailed("source_missing", f"there is no database {self.source.database}")
        time.sleep(SETTLE_S)
        with on_disk(self.scratch):
            self.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        plain = self.scratch / "snapshot.db"
        try:
            # Before the database: a revocation is there before the change that it tells of.
            journal = self._journal()
            with StallWatch(self.source.database) as watch:
                marks = copy(self.source.database, plain)
            if marks is None:
                return None
            reached("copied")
            found = self._checked(plain)
            if found.marks != marks:
                raise Damaged(f"the copy of {self.source.database} is not what was read with it")
            reached("checked")
            taken = self._store(plain, found, journal, began, watch.longest_s, reached)
            if keep is not None:
                with on_disk(keep):
                    keep.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    plain.replace(keep)
            return taken
        finally:
            plain.unlink(missing_ok=True)

    def _checked(self, plain: Path) -> Checked:
        try:
            return check(plain)
        except Damaged as damage:
            raise BackupFailed("source_damaged", f"{self.source.database} cannot be backed up: {damage}") from None

    def _journal(self) -> bytes | None:
        path = self.source.journal
        if path is None or not path.exists():
            return None
        with on_disk(path):
            return path.read_bytes()

    def _store(
        self, plain: Path, found: Checked, journal: bytes | None, began: float, stall_s: float, reached: Reached
    ) -> Taken:
        newest = self.archive.newest()
        with on_disk(plain):
            stored = store_file(plain, self.archive, self._known_in(newest), reached)
        beside, beside_bytes = (None, 0) if journal is None else self._store_journal(journal, newest)
        reached("stored")
        names = self.archive.ids()
        manifest = Manifest(
            id=new_id(began, names[-1] if names else None),
            taken_at=began,
            app_version=__version__,
            sqlite_version=ENGINE,
            schema_revision=found.marks.revision,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            lists=stored.lists,
            rows=found.rows,
            watermarks=found.marks.watermarks,
            journal=beside,
            recipients=self.recipients,
            new_bytes=stored.new_bytes + beside_bytes,
            duration_s=round(time.time() - began, 3),
            stall_s=round(stall_s, 4),
        )
        if newest is not None and newest.content == manifest.content:
            manifest = newest
        else:
            self.archive.put_manifest(manifest)
            reached("counted")
        self._known = manifest.id, stored.known
        return Taken(manifest, is_new=manifest is not newest, chunks=len(stored.known.chunks))

    def _store_journal(self, journal: bytes, newest: Manifest | None) -> tuple[Chunk, int]:
        before = newest.journal if newest is not None and newest.recipients == self.recipients else None
        if before is not None and before.plain == sha256(journal):
            return before, 0
        return self.archive.put_chunk(journal)


def store_file(path: Path, archive: Archive, known: Known, reached: Reached = pass_by) -> Stored:
    """Store the chunks of a file that are not known, and the lists that name all of them."""
    whole = hashlib.sha256()
    lists: list[str] = []
    chunks: dict[str, str] = {}
    new_bytes = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for pieces in _groups(path):
            found = list(pool.map(partial(_stored, archive, known.chunks), pieces))
            for piece, (chunk, size) in zip(pieces, found, strict=True):
                whole.update(piece)
                chunks[chunk.plain] = chunk.stored
                new_bytes += size
            name, size = archive.put_list([chunk for chunk, _ in found], known.lists)
            lists.append(name)
            new_bytes += size
            reached("list")
    return Stored(tuple(lists), whole.hexdigest(), path.stat().st_size, Known(chunks, frozenset(lists)), new_bytes)


def _groups(path: Path) -> Iterator[list[bytes]]:
    """Read a file, as many pieces at a time as a list names."""
    with path.open("rb") as file:
        while pieces := [piece for _ in range(LIST_CHUNKS) if (piece := file.read(CHUNK_BYTES))]:
            yield pieces


def _stored(archive: Archive, known: dict[str, str], piece: bytes) -> tuple[Chunk, int]:
    name = sha256(piece)
    if name in known:
        return Chunk(name, known[name]), 0
    return archive.put_chunk(piece)
