"""A table that only these tests know, so that they say what the store does and not what a room does."""

from collections.abc import Callable

from sqlalchemy import Connection, text

from app.db.database import ReadTx, WriteTx

_CREATE = "CREATE TABLE IF NOT EXISTS notes (number BIGINT PRIMARY KEY, body TEXT NOT NULL)"
_ADD = text("INSERT INTO notes (number, body) VALUES (:number, :body)")
_ALL = text("SELECT number FROM notes ORDER BY number")
INTEGRITY = text("PRAGMA integrity_check")


def prepare(connection: Connection) -> None:
    """Make the table while a database is opened."""
    connection.exec_driver_sql(_CREATE)


def create(tx: WriteTx) -> None:
    """Make the table in an open database."""
    tx.run(text(_CREATE))


def add(number: int, body: str = "") -> Callable[[WriteTx], int]:
    """Return a work that adds a note and returns its number."""

    def work(tx: WriteTx) -> int:
        tx.run(_ADD, {"number": number, "body": body})
        return number

    return work


def numbers(tx: ReadTx) -> list[int]:
    """Return the numbers of all notes."""
    return [row.number for row in tx.all(_ALL)]
