"""Puts a snapshot in the place of the state, in steps that are noted on disk: one that is killed goes on where it was.

    staged     the snapshot lies whole, checked and migrated beside the state; nothing is touched yet
    swapping   the state of before is linked to another name, then the snapshot is renamed over its own
    swapped    the API may start; it is held to answering
    undoing    it did not answer: the state of before is renamed back

At every instant the name of the database leads to a whole one: the old state, with all that was committed, or the new.
"""

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import IO, Literal

import msgspec
from msgspec import Struct

from app.db.opening import REFUSALS, open_database
from app.db.sqlite import DatabaseInUse, lock_file
from app.keys.revocations import sync_folder
from ops.backup.archive import Archive
from ops.backup.database_file import check, make_whole
from ops.backup.failures import BackupFailed, Damaged, on_disk
from ops.backup.fetch import fetch, prove, revocations_since
from ops.backup.manifest import Manifest, id_at
from ops.backup.places import Folder
from ops.backup.snapshot import Reached, pass_by
from ops.backup.source import Source

Step = Literal["staged", "swapping", "swapped", "undoing"]
LEFT_OVERS = ("-wal", "-shm")
ROOM = 1.1


class Progress(Struct, frozen=True):
    """How far a restore is. `safety` is the file name of the state of before, None when there was none."""

    snapshot: str
    step: Step
    safety: str | None = None


class Restoring:
    """The restore of one source. Every method can be called again after a kill, and does what is left to do."""

    def __init__(self, source: Source, reached: Reached = pass_by) -> None:
        self.source = source
        self.database = source.database
        self.staged = self._beside(".restoring")
        self.revoked = self._beside(".restoring.revocations")
        self._noted = self._beside(".restore.json")
        self._reached = reached

    def _beside(self, end: str) -> Path:
        return self.database.with_name(self.database.name + end)

    def progress(self) -> Progress | None:
        """Return how far a restore that was begun is; None when none was. Raises BackupFailed."""
        try:
            return msgspec.json.decode(self._noted.read_bytes(), type=Progress)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError):
            raise BackupFailed("other", f"{self._noted} cannot be read: remove it to begin anew") from None

    def _note(self, progress: Progress) -> Progress:
        place = Folder(self._noted.parent)
        place.put(self._noted.name, msgspec.json.encode(progress))
        place.settle()
        self._reached(progress.step)
        return progress

    def stage(self, archive: Archive, manifest: Manifest) -> Progress:
        """Fetch, check and migrate beside the state, which may be in use.

        Raises BackupFailed; then nothing is left.
        """
        folder = self.database.parent
        with on_disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._unstage()
            free = shutil.disk_usage(folder).free
        if free < manifest.size_bytes * ROOM:
            raise BackupFailed("disk_full", f"{folder} has {free / 1e6:.0f} MB free, too few for the snapshot")
        try:
            fetch(archive, manifest, self.staged, self._reached)
            prove(self.staged, manifest)
            self._reached("proven")
            migrate(self.staged)
            self._reached("migrated")
            place = Folder(folder)
            place.put(self.revoked.name, revocations_since(archive, manifest))
            place.settle()
        except BaseException:
            self._unstage()
            raise
        return self._note(Progress(manifest.id, "staged"))

    def _unstage(self) -> None:
        for end in ("", *LEFT_OVERS, ".lock", ".revocations"):
            self.staged.with_name(self.staged.name + end).unlink(missing_ok=True)

    def _add_revocations(self) -> None:
        """Put those lines before the journal that a disk may have taken along: of a key the last line counts."""
        journal = self.source.journal
        if journal is None or not self.revoked.exists():
            return
        present = journal.read_bytes() if journal.exists() else b""
        there = set(present.splitlines(keepends=True))
        lost = [line for line in self.revoked.read_bytes().splitlines(keepends=True) if line not in there]
        if lost:
            place = Folder(journal.parent)
            place.put(journal.name, b"".join(lost) + present)
            place.settle()

    def swap(self) -> Progress:
        """Put what is staged in the place of the state. Raises BackupFailed, also when the API does not stand still."""
        progress = self.progress()
        assert progress is not None
        with on_disk(self.database), self._alone():
            if progress.step == "staged":
                safety = f"{self.database.name}.before-{id_at(time.time())}" if self.database.exists() else None
                progress = self._note(Progress(progress.snapshot, "swapping", safety))
            self._add_revocations()
            if self.staged.exists():
                self._keep_present(progress.safety)
                self._reached("kept")
                self._replace(self.staged)
        return self._note(Progress(progress.snapshot, "swapped", progress.safety))

    def _keep_present(self, safety: str | None) -> None:
        """Give the present state a second name. What cannot be made one file is kept as the files that it is."""
        if safety is None or not self.database.exists():
            return
        try:
            make_whole(self.database)
        except Damaged:
            for end in LEFT_OVERS:
                if self._beside(end).exists():
                    self._beside(end).rename(self.database.with_name(safety + end))
        kept = self.database.with_name(safety)
        if not kept.exists():
            os.link(self.database, kept)
        sync_folder(kept.parent)

    def _replace(self, other: Path) -> None:
        """Rename a whole file over the database. No left-over of the old one may be read into the new one."""
        for end in LEFT_OVERS:
            self._beside(end).unlink(missing_ok=True)
        self._reached("left-overs")
        other.rename(self.database)
        sync_folder(self.database.parent)
        self._reached("renamed")

    def undo(self) -> None:
        """Put the state of before back. The API stands still. Raises BackupFailed."""
        progress = self.progress()
        assert progress is not None
        self._note(Progress(progress.snapshot, "undoing", progress.safety))
        with on_disk(self.database), self._alone():
            if progress.safety is None:
                for end in ("", *LEFT_OVERS):
                    self._beside(end).unlink(missing_ok=True)
            else:
                self._put_back(self.database.with_name(progress.safety))
        self.finish()

    def _put_back(self, safety: Path) -> None:
        if safety.exists():
            self._replace(safety)
        for end in LEFT_OVERS:
            kept = safety.with_name(safety.name + end)
            if kept.exists():
                kept.rename(self._beside(end))
        sync_folder(safety.parent)

    def _alone(self) -> IO[bytes]:
        try:
            return lock_file(self.database)
        except DatabaseInUse as in_use:
            raise BackupFailed("in_use", f"{in_use} Stop the API first, or say how with --stop and --start") from None

    def require_free(self) -> None:
        """Raise BackupFailed when a server uses the state."""
        with on_disk(self.database):
            self.database.parent.mkdir(parents=True, exist_ok=True)
            self._alone().close()

    def finish(self) -> None:
        """Forget the restore: it is over."""
        with on_disk(self._noted):
            self._unstage()
            self._noted.unlink(missing_ok=True)
            sync_folder(self._noted.parent)


def migrate(path: Path) -> None:
    """Bring the schema of a file up to this release's, and leave it one file. Raises BackupFailed."""

    async def open_and_close() -> None:
        database = await open_database(f"sqlite:///{path}")
        await database.close()

    try:
        asyncio.run(open_and_close())
    except REFUSALS as refusal:
        raise BackupFailed("other", str(refusal)) from None
    make_whole(path)
    check(path)
