"""A server in this process whose model, time and death are a test's to decide. Real services, engine and database."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from app.db.database import Database, ReadTx, WriteTx
from app.engine.bus import Bus
from app.engine.executor import Executor
from app.engine.journal import Journal
from app.engine.prompt import Upstream
from app.inference.chunks import Chunk
from app.inference.client import ChatRequest, ChunkBatches
from app.messages.service import MessageService
from app.runs.lease import Lease, LeaseTimes
from app.runs.service import RunService, StartedRun
from app.threads.service import ThreadService
from tests.conformance.sse import ServerEvent, SseParser
from tests.fakes.callers import LIMITER
from tests.fakes.clock import SetClock

T = TypeVar("T")
CALM = 25
"""So many turns of the event loop without anything under way, and nothing will happen by itself."""


class Crashed(BaseException):
    """The process of a store's owner is dead: nothing it does reaches the disk."""


class StandingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until a test moves it: no timer rings by chance."""

    moved_s = 0.0

    def time(self) -> float:
        """Return the time that the test set."""
        return 1000.0 + self.moved_s


class Store:
    """One server's way to the database: it knows what is under way, and dies with its server."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.under_way = 0
        self.dead = False
        self.after_write: Callable[[], Awaitable[None]] | None = None
        """What happens between a commit and its caller's hearing of it."""
        self.after_read: Callable[[], Awaitable[None]] | None = None
        """What happens between a snapshot and its caller's hearing of it."""

    async def read(self, work: Callable[[ReadTx], T]) -> T:
        """Read, unless dead."""
        done = await self._counted(self._database.read, work)
        if self.after_read is not None:
            await self.after_read()
        return done

    async def write(self, work: Callable[[WriteTx], T]) -> T:
        """Write, unless dead."""
        done = await self._counted(self._database.write, work)
        if self.after_write is not None:
            await self.after_write()
        return done

    async def _counted(self, way: Callable[[Any], Any], work: Callable[[Any], T]) -> T:
        if self.dead:
            raise Crashed
        self.under_way += 1
        try:
            done: T = await way(work)
        finally:
            self.under_way -= 1
        if self.dead:
            raise Crashed
        return done

    async def close(self) -> None:
        """Leave the file to whoever opened it."""


class ModelCall:
    """A request that the model was sent; `feed` is what it answers, piece by piece."""

    def __init__(self, request: ChatRequest) -> None:
        self.request = request
        self.lines: asyncio.Queue[Sequence[Chunk] | BaseException | None] = asyncio.Queue()
        self.ended = False
        self.called = 0

    def feed(self, line: Sequence[Chunk] | BaseException | None) -> None:
        """Answer with chunks, with a failure, or with the end."""
        self.lines.put_nowait(line)
        self.ended = self.ended or line is None or isinstance(line, BaseException)


class PuppetModel:
    """A ChatModel that says what it is told to say, and the executor's Models."""

    def __init__(self) -> None:
        self.calls: list[ModelCall] = []

    async def upstream(self, name: str) -> Upstream:
        """Resolve every name to this model."""
        return Upstream(self, name, None)

    @asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChunkBatches, None]:
        """Accept a request."""
        call = ModelCall(request)
        self.calls.append(call)
        batches = _batches(call)
        try:
            yield batches
        finally:
            self.calls.remove(call)
            await batches.aclose()

    def waiting(self) -> list[ModelCall]:
        """The calls that have more to say."""
        return [call for call in self.calls if not call.ended]


async def _batches(call: ModelCall) -> AsyncGenerator[Sequence[Chunk], None]:
    while (line := await call.lines.get()) is not None:
        if isinstance(line, BaseException):
            raise line
        yield line


async def no_model() -> str:
    """Be the default model of assistants that name theirs."""
    raise AssertionError("the assistant names its model")


class Told:
    """What one reader was told of a run."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.events: list[ServerEvent] = []

    async def read(self, frames: AsyncGenerator[bytes, None]) -> None:
        """Read to the end, or until the server dies."""
        parser = SseParser()
        with suppress(Crashed):
            async for data in frames:
                self.events += parser.feed(data)


class Node:
    """A server over a database, put together as app/main.py does, without HTTP."""

    def __init__(self, database: Database, clock: SetClock, *, flush_s: float) -> None:
        self.store = Store(database)
        self.model = PuppetModel()
        journal = Journal(self.store)
        self.messages = MessageService(self.store, clock)
        self.executor = Executor(
            models=self.model,
            conversation=self.messages,
            journal=journal,
            bus=Bus(),
            clock=clock,
            concurrency=1,
            queue_limit=8,
            flush_s=flush_s,
            context_messages=100,
        )
        self.threads = ThreadService(self.store, clock, self.executor)
        lease = Lease(self.store, LeaseTimes(), shared=False)
        parts = self.store, clock, self.executor, journal, LIMITER, lease
        self.runs = RunService(*parts, expires_after_s=600, ping_s=1e9, context_messages=100)
        self._readers: list[asyncio.Task[None]] = []

    def follow(self, started: StartedRun) -> Told:
        """Read a run's stream as its client would."""
        told = Told(started.run.id)
        self._readers.append(asyncio.create_task(told.read(self.runs.stream(started))))
        return told

    async def calm(self) -> None:
        """Wait until nothing happens any more by itself."""
        turns = 0
        while turns < CALM:
            await asyncio.sleep(0)
            turns = 0 if self.store.under_way else turns + 1

    async def crash(self) -> None:
        """Die: from now on nothing is written, whatever the tasks still try."""
        self.store.dead = True
        await self.executor.stop(0)
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
