"""Puts the parts together from the settings: the source, the store here, and its copies."""

from pathlib import Path
from typing import NamedTuple

from app.db.opening import sqlite_file
from app.keys.opening import journal_path
from app.settings import Settings
from ops.backup.archive import Archive
from ops.backup.bucket import Bucket
from ops.backup.failures import BackupFailed
from ops.backup.places import Folder, Mounted
from ops.backup.record import Notes
from ops.backup.retention import Retention
from ops.backup.sealing import Sealer
from ops.backup.settings import BackupSettings
from ops.backup.source import Source

POSTGRES = (
    "DATABASE_URL is PostgreSQL: backing it up is the database's own job, with pg_dump or base backups (docs/backup.md)"
)


class Parts(NamedTuple):
    """Everything that backups work on."""

    settings: BackupSettings
    source: Source
    local: Archive
    copies: tuple[Archive, ...]
    notes: Notes

    @property
    def scratch(self) -> Path:
        """Where plain copies are made for a moment. Nothing in it is worth keeping."""
        return self.settings.path / "scratch"

    @property
    def retention(self) -> Retention:
        """For how long snapshots are kept."""
        one = self.settings
        return Retention(one.keep_all_h, one.keep_hourly_d, one.keep_daily_d, one.keep_monthly)

    @property
    def archives(self) -> list[Archive]:
        """The store here, then its copies."""
        return [self.local, *self.copies]


def parts_of(settings: Settings, backup: BackupSettings) -> Parts:
    """Build everything; nothing is opened yet. Raises BackupFailed, also for PostgreSQL, whose job backups are."""
    file = sqlite_file(settings.database_url)
    if file is None:
        raise BackupFailed("other", POSTGRES)
    sealer = Sealer(backup.recipients, backup.identity)
    copies = []
    if backup.copy_folder is not None:
        copies.append(Archive(Mounted(Path(backup.copy_folder), "directory"), sealer))
    if backup.bucket_url is not None:
        copies.append(Archive(Bucket(backup), sealer))
    source = Source(file, journal_path(settings, file))
    return Parts(backup, source, Archive(Folder(backup.path), sealer), tuple(copies), Notes(backup.path))
