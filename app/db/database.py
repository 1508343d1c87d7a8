"""What rooms see of a database: `read(work)` and `write(work)`, each one transaction.

`work` is a plain function: it runs where the connection lives and must neither await nor block on the network.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TypeVar

from sqlalchemy import Connection, Executable, Row, literal, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from app.errors import Unavailable
from app.telemetry import metrics

log = logging.getLogger(__name__)

T = TypeVar("T")
Kind = Literal["read", "write"]

RETRY_AFTER_S = 1
BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "55P03", "40P01")
"""What the engines say when others hold what a transaction needs: SQLite's names, PostgreSQL's codes."""
_ONE = select(literal(1))
_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(:key)")


class ReadTx:
    """A transaction that only reads. Writing through it is a type error, and the engine refuses it too."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Return every row."""
        return self._connection.execute(statement, params).all()

    def first(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Row[Any] | None:
        """Return the first row, or None."""
        return self._connection.execute(statement, params).first()


class WriteTx(ReadTx):
    """A transaction that may write. It commits when the work returns and rolls back when it raises."""

    __slots__ = ()

    def run(self, statement: Executable, params: Mapping[str, Any] | None = None) -> int:
        """Carry out a statement; return how many rows it touched."""
        return self._connection.execute(statement, params).rowcount

    def take_turns(self, key: int) -> None:
        """Wait until no other transaction holds this number, then hold it. SQLite's one writer is always alone."""
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(_TAKE_TURNS, {"key": key})

    def run_many(self, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        """Carry out a statement once for each row."""
        if rows:
            self._connection.execute(statement, rows)


class Database(Protocol):
    """An open store."""

    async def read(self, work: Callable[[ReadTx], T]) -> T:
        """Run `work` in a read-only transaction: it sees one consistent state."""
        ...

    async def write(self, work: Callable[[WriteTx], T]) -> T:
        """Run `work` in a transaction; it is on disk when this returns.

        Concurrent works may share one commit. A caller that is cancelled does not undo its work.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued and let the files go."""
        ...


def probe(tx: ReadTx) -> None:
    """Ask for nothing, to see that the store answers."""
    tx.first(_ONE)


class WriteQueueFull(Unavailable):
    """More writes wait than WRITE_QUEUE_LIMIT allows."""

    def __init__(self) -> None:
        super().__init__("The server is overloaded: too many writes are waiting.", retry_after_s=RETRY_AFTER_S)


class StorageFailed(Unavailable):
    """The database could not carry out a transaction: nothing of it was kept."""

    def __init__(self) -> None:
        super().__init__("The server could not reach its storage. Nothing was changed.", retry_after_s=RETRY_AFTER_S)


class CannotOpen(Exception):
    """The database could not be opened. The message is one line and holds no secret."""


@contextmanager
def translated(kind: Kind, *foreign: type[Exception]) -> Iterator[None]:
    """Count a transaction. Turn a driver's failure into ours, also those `foreign` ones that SQLAlchemy does not wrap.

    A broken constraint is a fault in our code and stays what it is.
    """
    failures: tuple[type[Exception], ...] = (DBAPIError, *foreign)
    try:
        yield
    except IntegrityError:
        raise
    except failures as failure:
        metrics.TRANSACTIONS.labels(kind, "failed").inc()
        name = kind_of(failure)
        metrics.DB_BUSY.inc(name.startswith(BUSY))
        # Its kind alone: a server's message can quote what a client wrote.
        log.error("the database could not carry out a transaction", extra={"failure": name})
        raise StorageFailed from failure
    metrics.TRANSACTIONS.labels(kind, "committed").inc()


@contextmanager
def opening(where: str, *foreign: type[Exception]) -> Iterator[None]:
    """Turn what keeps the database at `where` from opening into CannotOpen."""
    failures: tuple[type[Exception], ...] = (SQLAlchemyError, *foreign)
    try:
        yield
    except failures as failure:
        text = str(driver_failure(failure)) or kind_of(failure)
        raise CannotOpen(f"cannot open the database {where}: {text.splitlines()[0]}") from failure


def driver_failure(failure: BaseException) -> BaseException:
    """Return what the driver raised, without SQLAlchemy's wrapping."""
    return (isinstance(failure, DBAPIError) and failure.orig) or failure


def kind_of(failure: Exception) -> str:
    """Name a driver's failure: its engine's code where there is one, else its class."""
    origin = driver_failure(failure)
    name = getattr(origin, "sqlite_errorname", None) or getattr(origin, "sqlstate", None)
    return str(name or type(origin).__name__)
