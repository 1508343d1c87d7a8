"""Writes what was denied and seals what was recorded, about every second and at the end."""

import asyncio
import logging

from app.audit.chain import ChainBroken, Link
from app.audit.denials import Denials
from app.audit.repository import add_many, has_waiting, head, seal
from app.db.database import Database
from app.errors import ApiError

log = logging.getLogger(__name__)

EVERY_S = 1.0
BATCH = 250  # records sealed in one transaction: a writer that waits for it waits milliseconds
ANCHOR_EVERY_S = 3600.0


class AuditKeeper:
    """Owns the chain's end in this process; other processes on the same database may have keepers too."""

    def __init__(self, database: Database, denials: Denials) -> None:
        self._database = database
        self._denials = denials

    async def keep(self) -> None:
        """Settle about every second until cancelled, and tell the log the newest link every hour."""
        told_at = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(EVERY_S)
            await self._settle_or_say_why_not()
            if asyncio.get_running_loop().time() - told_at >= ANCHOR_EVERY_S:
                told_at = asyncio.get_running_loop().time()
                await self._tell_head()

    async def close(self) -> None:
        """Settle for the last time and tell the log the newest link: it is an anchor for whoever keeps the log."""
        await self._settle_or_say_why_not()
        await self._tell_head()

    async def settle(self) -> None:
        """Write and seal all there is. Raises Unavailable and ChainBroken; nothing is forgotten then."""
        await self._write_denials()
        while await self._database.read(has_waiting):
            await self._database.write(lambda tx: seal(tx, BATCH))

    async def head(self) -> Link:
        """Return the newest link, everything that was acknowledged before in it."""
        await self.settle()
        return await self._database.read(head)

    async def _write_denials(self) -> None:
        taken = self._denials.take()
        if not taken:
            return
        try:
            await self._database.write(lambda tx: add_many(tx, taken))
        except BaseException:
            self._denials.give_back(taken)
            raise

    async def _settle_or_say_why_not(self) -> None:
        try:
            await self.settle()
        except ChainBroken as broken:
            log.error(broken.message)
        except ApiError:
            log.warning("the audit could not be written and sealed; trying again")

    async def _tell_head(self) -> None:
        try:
            newest = await self._database.read(head)
        except ApiError:
            return
        log.info("audit chain", extra={"position": newest.position, "hash": newest.hash})
