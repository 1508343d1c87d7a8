"""How projects and keys are changed: the journal, then the commit, then the ring, and only then the answer."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from app.db.database import Database, WriteTx
from app.errors import ApiError
from app.keys.revocations import RevocationJournal
from app.keys.ring import KeyRing
from app.keys.state import KeyState, State

T = TypeVar("T")


class Changes:
    """Carries changes out to their end, whether or not whoever asked for them still waits."""

    def __init__(self, database: Database, ring: KeyRing, journal: RevocationJournal | None) -> None:
        self.database = database
        self.ring = ring
        self._journal = journal
        self._under_way: set[asyncio.Task[Any]] = set()

    async def carry_out(self, change: Coroutine[Any, Any, T]) -> T:
        """Run a change in a task of its own: a client that goes away must not leave it committed and untold."""
        task = asyncio.create_task(change, name="key-change")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    def note(self, state: State) -> None:
        """Put on disk, from inside a transaction, what a restored backup must not undo. Raises StorageFailed."""
        if self._journal is not None:
            self._journal.write(state)

    async def write(self, work: Callable[[WriteTx], T], *, undone: list[KeyState]) -> T:
        """Commit a work that may have been noted; `undone` has then what holds if it was not kept."""
        try:
            return await self.database.write(work)
        except ApiError:
            for state in undone:
                self.note(state)
            raise

    async def close(self) -> None:
        """Wait for what is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)
