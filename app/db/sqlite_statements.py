"""Statements as SQLite's driver takes them: compiled once, then carried out without SQLAlchemy in between.

A statement that is made once and sent many times costs SQLAlchemy five times what it costs the driver
(docs/decisions/0018-statements-compiled-once.md has the figures). Of each that comes a second time the text, its fixed
parameters and the form of its rows are kept; what is made on the spot goes through SQLAlchemy, and so does what this
module does not know how to send.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Delete,
    Executable,
    Float,
    Insert,
    Integer,
    LargeBinary,
    Row,
    Select,
    String,
    Update,
)
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.compiler import SQLCompiler

from app.db.database import ReadTx, WriteTx

_NAMED = dialect(paramstyle="named")
_SENT_AS_THEY_ARE = (String, BigInteger, Integer, Float, LargeBinary, Boolean)
"""Types whose values the driver takes as they are, and gives back so, but for truth."""

Params = Mapping[str, Any]


class _Compiled:
    """A statement's text, what of its parameters is fixed, and what makes a row of the driver's tuple."""

    __slots__ = ("fixed", "row", "sql")

    def __init__(self, sql: str, fixed: Params, row: Callable[[Sequence[Any]], Any]) -> None:
        self.sql = sql
        self.fixed = fixed
        self.row = row


class Statements:
    """The statements of one connection."""

    def __init__(self, connection: Connection, driver: sqlite3.Connection) -> None:
        self.connection = connection
        self.driver = driver
        self._known: WeakKeyDictionary[Executable, dict[tuple[str, ...], _Compiled | None]] = WeakKeyDictionary()

    def compiled(self, statement: Executable, params: Params) -> _Compiled | None:
        """Return a statement as the driver takes it with parameters of these names, None where SQLAlchemy sends it."""
        known = self._known.get(statement)
        if known is None:  # perhaps made on the spot, and never to come again
            self._known[statement] = {}
            return None
        names = tuple(params)
        if names not in known:
            known[names] = _compile(statement, names)
        return known[names]

    def send(self, one: _Compiled, params: Params) -> sqlite3.Cursor:
        """Carry out a statement. Raises SQLAlchemy's IntegrityError, and whatever else the driver raises."""
        given = {**one.fixed, **params} if one.fixed else params
        self._tell(one.sql, given, many=False)
        try:
            return self.driver.execute(one.sql, given)
        except sqlite3.IntegrityError as broken:
            raise _named(broken, one.sql) from broken

    def send_many(self, one: _Compiled, rows: Sequence[Params]) -> None:
        """Carry out a statement once for each row of parameters. Raises as `send`."""
        given = [{**one.fixed, **row} for row in rows] if one.fixed else rows
        self._tell(one.sql, given, many=True)
        try:
            self.driver.executemany(one.sql, given)
        except sqlite3.IntegrityError as broken:
            raise _named(broken, one.sql) from broken

    def _tell(self, sql: str, given: Params | Sequence[Params], *, many: bool) -> None:
        """Tell whoever listens to SQLAlchemy's engines, as SQLAlchemy would."""
        for listener in self.connection.dispatch.before_cursor_execute:
            listener(self.connection, None, sql, given, None, many)


class SqliteReadTx(ReadTx):
    """A transaction that only reads."""

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        super().__init__(statements.connection)
        self._statements = statements

    def all(self, statement: Executable, params: Params | None = None) -> Sequence[Row[Any]]:
        """Return every row."""
        one = self._statements.compiled(statement, params or {})
        if one is None:
            return super().all(statement, params)
        cursor = self._statements.send(one, params or {})
        try:
            return list(map(one.row, cursor.fetchall()))
        finally:
            cursor.close()  # or one that broke would reset its statement later, under whoever uses it then

    def first(self, statement: Executable, params: Params | None = None) -> Row[Any] | None:
        """Return the first row, or None."""
        one = self._statements.compiled(statement, params or {})
        if one is None:
            return super().first(statement, params)
        cursor = self._statements.send(one, params or {})
        try:
            values = cursor.fetchone()
        finally:
            cursor.close()  # as above; and a statement that has more rows would keep the transaction open
        return None if values is None else one.row(values)


class SqliteWriteTx(SqliteReadTx, WriteTx):
    """A transaction that may write. It is always alone."""

    __slots__ = ()

    def run(self, statement: Executable, params: Params | None = None) -> int:
        """Carry out a statement; return how many rows it touched."""
        one = self._statements.compiled(statement, params or {})
        return super().run(statement, params) if one is None else self._statements.send(one, params or {}).rowcount

    def run_many(self, statement: Executable, rows: Sequence[Params]) -> None:
        """Carry out a statement once for each row."""
        one = self._statements.compiled(statement, rows[0]) if rows else None
        if one is None:
            super().run_many(statement, rows)
        else:
            self._statements.send_many(one, rows)

    def take_turns(self, key: int) -> None:
        """Do nothing: nobody else writes."""


@lru_cache(maxsize=1024)  # one for all connections
def _compile(statement: Executable, names: tuple[str, ...]) -> _Compiled | None:
    if not isinstance(statement, Select | Insert | Update | Delete):
        return None
    columns: Sequence[Any] = (
        statement.column_descriptions if isinstance(statement, Select) else statement.returning_column_descriptions
    )
    compiled = statement.compile(dialect=_NAMED, column_keys=list(names))
    if not isinstance(compiled, SQLCompiler) or compiled.insert_prefetch or "POSTCOMPILE" in compiled.string:
        return None
    fixed = {name: bind for bind, name in compiled.bind_names.items() if not bind.required}
    if not all(isinstance(one["type"], _SENT_AS_THEY_ARE) for one in columns):
        return None
    if not all(isinstance(bind.type, _SENT_AS_THEY_ARE) for bind in fixed.values()):
        return None
    return _Compiled(compiled.string, {name: bind.value for name, bind in fixed.items()}, _row_maker(columns))


def _row_maker(columns: Sequence[Any]) -> Callable[[Sequence[Any]], Any]:
    """Return what makes a named tuple of a row. Truth is a number to the driver."""
    row: Any = namedtuple("Row", [one["name"] for one in columns], rename=True)  # type: ignore[misc]  # known only now
    make: Callable[[Sequence[Any]], Any] = row._make
    truths = [at for at, one in enumerate(columns) if isinstance(one["type"], Boolean)]

    def with_truths(values: Sequence[Any]) -> Any:
        told = list(values)
        for at in truths:
            told[at] = None if told[at] is None else bool(told[at])
        return make(told)

    return with_truths if truths else make


def _named(broken: sqlite3.IntegrityError, sql: str) -> IntegrityError:
    """Return a broken constraint as SQLAlchemy names it, without the parameters: they are conversations."""
    return IntegrityError(sql, None, broken, hide_parameters=True)
