"""PostgreSQL through asyncpg: the same works, each in a transaction of its own. Only this module knows asyncpg."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.db.database import Kind, ReadTx, StorageFailed, WriteTx, kind_of, opening, translated
from app.errors import InvalidRequest
from app.telemetry import metrics, tracing

T = TypeVar("T")

POOL_SIZE = 8
POOL_TIMEOUT_S = 10
CONNECT_TIMEOUT_S = 10
COMMAND_TIMEOUT_S = 60
NOT_STORABLE = "22021"


class PostgresDatabase:
    """The Database of a PostgreSQL server. Group commit is the server's own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._closing = False
        self._under_way: set[asyncio.Task[Any]] = set()
        self._reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @classmethod
    async def open(cls, url: URL, *, prepare: Callable[[Connection], None]) -> "PostgresDatabase":
        """Connect and bring the schema up to date with `prepare`. Raises CannotOpen, and what `prepare` raises."""
        engine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=POOL_SIZE,
            max_overflow=0,
            hide_parameters=True,  # parameters are conversations: they belong in no error text and no log
            pool_timeout=POOL_TIMEOUT_S,
            connect_args={"timeout": CONNECT_TIMEOUT_S, "command_timeout": COMMAND_TIMEOUT_S},
        )
        try:
            with opening(f"{url.database} on {url.host}", OSError):
                async with engine.begin() as connection:
                    await connection.run_sync(prepare)
        except BaseException:
            await engine.dispose()
            raise
        return cls(engine)

    async def read(self, work: Callable[[ReadTx], T]) -> T:
        """Run `work` on one snapshot."""
        caller = _Caller()

        async def transaction() -> T:
            async with self._reading.connect() as connection:
                caller.require()
                return await connection.run_sync(lambda sync: work(ReadTx(sync)))

        return await self._to_its_end("read", transaction(), caller)

    async def write(self, work: Callable[[WriteTx], T]) -> T:
        """Run `work` and commit."""
        caller = _Caller()

        async def transaction() -> T:
            async with self._engine.begin() as connection:
                caller.require()
                return await connection.run_sync(lambda sync: work(WriteTx(sync)))

        began = time.perf_counter()
        with tracing.span("write"):
            result = await self._to_its_end("write", transaction(), caller)
        metrics.DB_BATCH.observe(1)
        metrics.DB_COMMIT.observe(time.perf_counter() - began)
        return result

    async def _to_its_end(self, kind: Kind, transaction: Coroutine[Any, Any, T], caller: "_Caller") -> T:
        """Carry out a transaction; once it began it ends as it would, though its caller is cancelled.

        A connection that is cut off in the middle is lost to the pool, and nobody knows what became of the commit.
        """
        if self._closing:
            transaction.close()
            raise StorageFailed
        task = asyncio.create_task(transaction, name="postgresql-transaction")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            with _translated(kind):
                return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller.left = True
            raise

    async def close(self) -> None:
        """Let what is under way end, then close the pool."""
        self._closing = True
        while self._under_way:
            await asyncio.wait(self._under_way)
        await self._engine.dispose()


class _Caller:
    """Who waits for a transaction, and may leave before it begins."""

    def __init__(self) -> None:
        self.left = False

    def require(self) -> None:
        """Raise CancelledError when nobody waits any more: nothing has been done yet."""
        if self.left:
            raise asyncio.CancelledError


@contextmanager
def _translated(kind: Kind) -> Iterator[None]:
    with translated(kind, OSError, PoolTimeout):  # a server that is not there, a pool that is used up
        try:
            yield
        except DBAPIError as failure:
            if kind_of(failure) != NOT_STORABLE:
                raise
            raise InvalidRequest("The text contains the character U+0000, which cannot be stored.") from None
