"""Rules of threads."""

from collections.abc import Mapping

from app.assistants.service import columns_of
from app.db.database import Database
from app.engine.executor import Executor
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.kit.pages import Page, PageQuery
from app.threads.repository import ThreadReader, ThreadWriter
from app.threads.schemas import CreateThread, Thread, ThreadDeleted, UpdateThread, thread_of


class ThreadService:
    """Creates, changes and deletes threads."""

    def __init__(self, database: Database, clock: Clock, executor: Executor) -> None:
        self._database = database
        self._clock = clock
        self._executor = executor

    async def create(self, caller: Caller, body: CreateThread) -> Thread:
        """Keep a new thread with its first messages."""
        at = self._clock.now()
        thread, _ = await self._database.write(lambda tx: ThreadWriter(tx, caller).create(body, at))
        return thread

    async def page(self, caller: Caller, query: PageQuery, metadata: Mapping[str, str]) -> Page[Thread]:
        """List threads, or those that have all of some metadata."""
        return await self._database.read(lambda tx: ThreadReader(tx, caller.project_id).page(query, metadata))

    async def retrieve(self, caller: Caller, thread_id: str) -> Thread:
        """Return one thread."""
        return thread_of(await self._database.read(lambda tx: ThreadReader(tx, caller.project_id).require(thread_id)))

    async def update(self, caller: Caller, thread_id: str, body: UpdateThread) -> Thread:
        """Change what was sent."""
        values = columns_of(body)
        at = self._clock.now()
        return thread_of(await self._database.write(lambda tx: ThreadWriter(tx, caller).change(thread_id, values, at)))

    async def delete(self, caller: Caller, thread_id: str) -> ThreadDeleted:
        """Delete a thread with its messages, runs and steps. A run that is active in it is stopped."""
        at = self._clock.now()
        active = await self._database.write(lambda tx: ThreadWriter(tx, caller).delete(thread_id, at))
        if active is not None:
            self._executor.abandon(active)
        return ThreadDeleted(id=thread_id)
