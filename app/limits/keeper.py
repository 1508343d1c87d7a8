"""Keeps the ledger in the store: reads it at the start, adds what is new every two seconds and at the end.

A process that is killed loses what it counted since. Replicas on one PostgreSQL add to the same rows, and each reads
every few seconds what all of them have spent of a day and a month.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from app.db.database import Database
from app.errors import ApiError
from app.kit.clock import Clock
from app.kit.tasks import TaskOwner
from app.limits.ledger import Ledger
from app.limits.repository import add_usage, totals

log = logging.getLogger(__name__)

STORE_EVERY_S = 2.0
LOOK_EVERY_S = 4.0
BATCH = 250  # rows of one transaction: a writer that waits for it waits milliseconds


class UsageKeeper:
    """Owns the task that stores a ledger. `shared` says that other processes add to the same rows."""

    def __init__(
        self, ledger: Ledger, database: Database, clock: Clock, *, shared: bool, every_s: float = STORE_EVERY_S
    ) -> None:
        self._ledger = ledger
        self._database = database
        self._clock = clock
        self._shared = shared
        self._every_s = every_s
        self._looked_at = clock.monotonic()
        self._owner = TaskOwner()
        self._storing = asyncio.Lock()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read what was used before, then begin to store what is used now."""
        await self.look()
        self._task = self._owner.start(self._keep(), name="usage")

    async def close(self) -> None:
        """Store what is left. A storage that fails now is only logged."""
        self._closing.set()
        if self._task is not None:
            await self._task
        await self._try(self.store)

    async def store(self) -> None:
        """Add what was counted to the store; when this returns it is there. Raises Unavailable, and nothing is lost.

        A caller that is cancelled does not cut it short: nobody would know whether the figures were added.
        """
        failure = await asyncio.shield(self._owner.start(self._store_all(), name="store usage"))
        if failure is not None:
            raise failure

    async def _store_all(self) -> Exception | None:
        async with self._storing:
            full = True
            while full:
                figures = self._ledger.take_unstored(BATCH)
                full = len(figures) == BATCH
                try:
                    await self._database.write(partial(add_usage, figures=figures))
                except Exception as failure:
                    self._ledger.put_back(figures)
                    return failure
        return None

    async def _keep(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._every_s)
            await self._try(self.store)
            elapsed_s = self._clock.monotonic() - self._looked_at
            if self._ledger.stale or (self._shared and elapsed_s >= LOOK_EVERY_S):
                await self._try(self.look)

    async def look(self) -> None:
        """Read what was spent this day and month. Raises Unavailable.

        Nothing is stored meanwhile, so that everything is counted once.
        """
        async with self._storing:
            day = self._ledger.today()
            stored = await self._database.read(lambda tx: totals(tx, day))
            self._ledger.know(day, stored)
            self._looked_at = self._clock.monotonic()

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what is done again in a moment: a failure is no reason to stop counting."""
        try:
            await work()
        except ApiError:
            log.warning("usage could not be kept in the store; trying again")
        except Exception:
            log.exception("a fault of ours kept usage from the store; trying again")


@asynccontextmanager
async def kept(ledger: Ledger, database: Database, clock: Clock, *, shared: bool) -> AsyncGenerator[UsageKeeper, None]:
    """Keep a ledger for a block; what it counted until the end is stored."""
    keeper = UsageKeeper(ledger, database, clock, shared=shared)
    await keeper.start()
    try:
        yield keeper
    finally:
        await keeper.close()
