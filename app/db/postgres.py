"""PostgreSQL through asyncpg: the same works, each in a transaction of its own. Only this module knows asyncpg."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.db.database import ReadTx, WriteTx, translated

T = TypeVar("T")

POOL_SIZE = 8
POOL_TIMEOUT_S = 10
CONNECT_TIMEOUT_S = 10
COMMAND_TIMEOUT_S = 60


class PostgresDatabase:
    """The Database of a PostgreSQL server. Group commit is the server's own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @classmethod
    async def open(cls, url: URL, *, prepare: Callable[[Connection], None]) -> "PostgresDatabase":
        """Connect and bring the schema up to date with `prepare`."""
        engine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=POOL_SIZE,
            max_overflow=0,
            hide_parameters=True,  # parameters are conversations: they belong in no error text and no log
            pool_timeout=POOL_TIMEOUT_S,
            connect_args={"timeout": CONNECT_TIMEOUT_S, "command_timeout": COMMAND_TIMEOUT_S},
        )
        try:
            async with engine.begin() as connection:
                await connection.run_sync(prepare)
        except BaseException:
            await engine.dispose()
            raise
        return cls(engine)

    async def read(self, work: Callable[[ReadTx], T]) -> T:
        """Run `work` on one snapshot."""
        with translated():
            async with self._reading.connect() as connection:
                return await _run(connection, lambda sync: work(ReadTx(sync)))

    async def write(self, work: Callable[[WriteTx], T]) -> T:
        """Run `work` and commit."""
        with translated():
            async with self._engine.begin() as connection:
                return await _run(connection, lambda sync: work(WriteTx(sync)))

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()


async def _run(connection: AsyncConnection, work: Callable[[Connection], T]) -> T:
    return await connection.run_sync(work)
