"""This server's lease on the runs that it carries out: as long as it says that it lives, no other server takes them.

The lease only keeps servers from disturbing each other. That none writes to a run that another took is the fence's to
see to (engine/statements.py), so that a server that was suspended, or cut off from the store, need not notice.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from app.db.database import Database, ReadTx
from app.errors import ApiError
from app.kit.ids import new_id
from app.kit.tasks import TaskOwner
from app.runs.repository import left_behind, remove_lapsed, remove_server, say_seen, unended

log = logging.getLogger(__name__)


class LeaseTimes(Struct, frozen=True, kw_only=True):
    """Seconds: how long a server that is silent keeps its runs, how often it speaks, and looks for others' runs."""

    lease_s: float = 15.0
    say_s: float = 3.0
    look_s: float = 5.0


class Lease:
    """Names this server and, where others share the store, keeps its runs. Use `held` around what carries runs out."""

    def __init__(self, database: Database, times: LeaseTimes, *, shared: bool) -> None:
        self.server = new_id("srv")
        self.times = times
        self.shared = shared
        self._database = database

    def left_behind(self, tx: ReadTx) -> Sequence[Any]:
        """Return the runs that nobody carries out: where the store is this server's alone, all that have not ended."""
        return left_behind(tx, self.server, self.times.lease_s) if self.shared else unended(tx)

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None, None]:
        """Hold the lease for a block; after it, what is left is anybody's at once. Raises Unavailable at the start."""
        if not self.shared:
            yield
            return
        await self._database.write(lambda tx: remove_lapsed(tx, self.times.lease_s))
        await self._say()
        owner = TaskOwner()
        owner.start(self._keep_saying(), name="lease")
        try:
            yield
        finally:
            await owner.close()
            await self._leave()

    async def _say(self) -> None:
        await self._database.write(lambda tx: say_seen(tx, self.server))

    async def _keep_saying(self) -> None:
        while True:
            await asyncio.sleep(self.times.say_s)
            try:
                await self._say()
            except ApiError:
                log.warning("this server could not say that it lives; trying again")
            except Exception:
                log.exception("a fault of ours kept this server from saying that it lives; trying again")

    async def _leave(self) -> None:
        try:
            await self._database.write(lambda tx: remove_server(tx, self.server))
        except ApiError:
            log.warning("this server could not say that it stops; its runs are taken once its lease has lapsed")
