"""One chat's hold on a thread over its whole length: taken once, ended once, whoever is cancelled meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from app.chat.repository import ThreadHold
from app.db.database import Database, WriteTx
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.messages.schemas import CreateMessage

CLOSE_TIMEOUT_S = 10.0

T = TypeVar("T")
Ending = Callable[[ThreadHold, int], None]
"""What a hold ends with, in the transaction that lets the thread go, at a second since 1970."""


class Works:
    """Carries works out to their end, though who waits for them is cancelled. Closed before the database is."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    async def to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a work returns, and raise what it raises."""
        task = asyncio.get_running_loop().create_task(work, name="hold of a thread")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=CLOSE_TIMEOUT_S)


class Hold:
    """A thread and the chat that holds it. `kept` are the ids of the messages that it added."""

    def __init__(
        self, database: Database, clock: Clock, works: Works, caller: Caller, thread_id: str, chat_id: str
    ) -> None:
        self.chat_id = chat_id
        self.kept: Sequence[str] = ()
        self._thread_id = thread_id
        self._database = database
        self._clock = clock
        self._works = works
        self._caller = caller
        self._held = False
        self._turns = asyncio.Lock()  # an end that is asked for while the thread is being taken waits for that

    async def take(self, messages: Sequence[CreateMessage]) -> Sequence[str]:
        """Lock the thread and add messages; return their ids. Raises NotFound, InvalidRequest, Unavailable."""
        await self._works.to_its_end(self._take(messages))
        return self.kept

    async def end(self, ending: Ending) -> None:
        """Let the thread go, unless that is done already. Raises Unavailable, and then the thread is still held."""
        await self._works.to_its_end(self._end(ending))

    async def _take(self, messages: Sequence[CreateMessage]) -> None:
        at = self._clock.now()
        async with self._turns:
            self.kept = await self._database.write(lambda tx: self._in(tx).take(messages, at))
            self._held = True

    async def _end(self, ending: Ending) -> None:
        at = self._clock.now()
        async with self._turns:
            if self._held:
                await self._database.write(lambda tx: ending(self._in(tx), at))
                self._held = False

    def _in(self, tx: WriteTx) -> ThreadHold:
        return ThreadHold(tx, self._caller, self._thread_id, self.chat_id)
