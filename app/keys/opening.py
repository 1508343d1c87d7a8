"""Puts the keys together over an open database: pepper, revocation journal, ring and services."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from app.db.database import Database
from app.db.opening import sqlite_file
from app.errors import ApiError
from app.keys.changes import Changes
from app.keys.pepper import kept_pepper
from app.keys.projects import ProjectService
from app.keys.repository import KeyReader, KeyWriter, StoredKeys
from app.keys.revocations import RevocationJournal, apply
from app.keys.ring import KeyRing
from app.keys.service import KeyService
from app.kit.clock import Clock
from app.kit.tasks import TaskOwner
from app.settings import Settings

FLUSH_S = 5.0


class Keys:
    """All of it, while the server lives."""

    def __init__(
        self, database: Database, clock: Clock, ring: KeyRing, journal: RevocationJournal | None, pepper: bytes | None
    ) -> None:
        self.ring = ring
        self._database = database
        self._journal = journal
        self.changes = Changes(database, ring, journal)
        self.keys = KeyService(self.changes, clock, pepper)
        self.projects = ProjectService(self.changes, clock)

    def start(self, chores: TaskOwner, *, shared: bool) -> None:
        """Keep noting which keys are used, and in a shared database watching what other processes change."""
        chores.start(self._keep_noting_uses(), name="uses of keys")
        if shared:
            chores.start(self.ring.keep_watching(), name="changes of keys")

    async def _keep_noting_uses(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.note_uses()

    async def note_uses(self) -> None:
        """Write when keys were last used, those of all requests at once; what cannot be written is let go."""
        used = self.ring.take_used()
        if used:
            try:
                await self._database.write(lambda tx: KeyWriter(tx).note_uses(used))
            except ApiError:  # the store has logged why, and the next use of a key is noted again
                return

    async def close(self) -> None:
        """Finish changes, write the last uses, let the journal go. The database is still open."""
        await self.changes.close()
        await self.note_uses()
        if self._journal is not None:
            self._journal.close()


@asynccontextmanager
async def opened_keys(settings: Settings, database: Database, clock: Clock) -> AsyncGenerator[Keys, None]:
    """Have the keys of an open database for a block. Raises CannotOpen."""
    keys = await open_keys(settings, database, clock)
    chores = TaskOwner()
    keys.start(chores, shared=sqlite_file(settings.database_url) is None)
    try:
        yield keys
    finally:
        await chores.close()
        await keys.close()


async def open_keys(settings: Settings, database: Database, clock: Clock) -> Keys:
    """Read what lies beside the database and bring the database up to it. Raises CannotOpen."""
    file = sqlite_file(settings.database_url)
    pepper = await _pepper(settings, database, file)
    ring = KeyRing(StoredKeys(database), clock, pepper=pepper, api_key=settings.api_key)
    path = journal_path(settings, file)
    if path is None:
        return Keys(database, clock, ring, None, pepper)
    journal = RevocationJournal(path)
    states = journal.open()
    now = clock.now()
    await database.write(lambda tx: apply(tx, states, now))
    return Keys(database, clock, ring, journal, pepper)


async def _pepper(settings: Settings, database: Database, file: Path | None) -> bytes | None:
    if settings.key_pepper is not None:
        return settings.key_pepper.encode()
    if file is None:
        return None
    has_keys = await database.read(lambda tx: KeyReader(tx).has_keys())
    return kept_pepper(file.parent, has_keys=has_keys)


def journal_path(settings: Settings, file: Path | None) -> Path | None:
    """Return where revocations are kept: as set, else beside a SQLite file, else nowhere."""
    if settings.key_journal_file is not None:
        return Path(settings.key_journal_file)
    return None if file is None else file.with_name(f"{file.name}.revocations")
