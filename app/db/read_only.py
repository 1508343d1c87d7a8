"""A database that can be sealed: from then on nothing is written, and who tries is told why."""

from collections.abc import Callable
from typing import TypeVar

from app.db.database import Database, ReadTx, WriteTx
from app.errors import PermissionDenied

T = TypeVar("T")


class Sealed(PermissionDenied):
    """The server only reads."""

    def __init__(self) -> None:
        super().__init__("This server only reads: it shows a copy of the state, and nothing in it can be changed.")


class SealableDatabase:
    """A Database over another one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sealed = False

    def seal(self) -> None:
        """Write nothing from now on."""
        self._sealed = True

    async def read(self, work: Callable[[ReadTx], T]) -> T:
        """Read as ever."""
        return await self._database.read(work)

    async def write(self, work: Callable[[WriteTx], T]) -> T:
        """Write, or raise Sealed."""
        if self._sealed:
            raise Sealed
        return await self._database.write(work)

    async def close(self) -> None:
        """Let the database go."""
        await self._database.close()
