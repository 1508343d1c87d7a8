"""A database that fails, or holds its writes back, as a test says; otherwise it is the one behind it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from app.db.database import Database, ReadTx, StorageFailed, WriteTx

T = TypeVar("T")


class TroubledDatabase:
    """Fails the next `failures` writes; while `gate` is closed, writes wait for it and leave with their caller."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.failures = 0
        self.failed = 0
        self.waiting = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, work: Callable[[ReadTx], T]) -> T:
        """Read as ever."""
        return await self._database.read(work)

    async def write(self, work: Callable[[WriteTx], T]) -> T:
        """Write, unless it is time to fail."""
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        if self.failures > 0:
            self.failures -= 1
            self.failed += 1
            raise StorageFailed
        return await self._database.write(work)

    async def close(self) -> None:
        """Close the one behind."""
        await self._database.close()
