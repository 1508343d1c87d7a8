"""Statements that go straight to SQLite's driver: the same rows, counts and failures as through SQLAlchemy."""

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    MetaData,
    Table,
    Text,
    bindparam,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from app.db.database import WriteTx
from app.db.sqlite import SqliteDatabase
from app.db.sqlite_statements import SqliteWriteTx
from tests.integration.db.plans import listening

pytestmark = pytest.mark.anyio

ORDERS = Table(
    "orders",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("amount", BigInteger),
    Column("filled", Boolean),
)
ADD = insert(ORDERS)
ALL = select(ORDERS).order_by(ORDERS.c.id)
FILL = update(ORDERS).where(ORDERS.c.id == bindparam("key")).values(filled=True)
RAISE = (
    update(ORDERS)
    .where(ORDERS.c.id == bindparam("key"))
    .values(amount=ORDERS.c.amount + 1)
    .returning(ORDERS.c.amount, ORDERS.c.filled)
)
UNNAMED = select(literal(1), func.count(), func.max(ORDERS.c.amount).is_(None)).select_from(ORDERS)
TIMES = range(3)
"""A statement goes through SQLAlchemy the first time, and straight to the driver from then on."""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = await SqliteDatabase.open(tmp_path / "a.db", prepare=ORDERS.metadata.create_all)
    yield opened
    await opened.close()


async def test_rows_are_the_same_each_time(database: SqliteDatabase) -> None:
    def work(tx: WriteTx) -> None:
        for at in TIMES:
            assert tx.run(ADD, {"id": str(at), "amount": at, "filled": None}) == 1
        for _ in TIMES:
            assert tx.run(FILL, {"key": "1"}) == 1
            assert tx.run(FILL, {"key": "9"}) == 0
        for at in TIMES:
            rows = tx.all(ALL)
            assert [tuple(row) for row in rows] == [("0", 0, None), ("1", 1 + at, True), ("2", 2, None)]
            assert (rows[1].id, rows[1].filled) == ("1", True)
            assert rows[1].filled is True
            assert rows[1]._asdict() == {"id": "1", "amount": 1 + at, "filled": True}
            assert tuple(tx.first(RAISE, {"key": "1"}) or ()) == (2 + at, True)
            assert tx.first(RAISE, {"key": "9"}) is None
            assert tuple(tx.first(UNNAMED) or ()) == (1, 3, False)

    await database.write(work)


async def test_columns_that_are_not_named_are_left_out_each_time(database: SqliteDatabase) -> None:
    def work(tx: WriteTx) -> None:
        tx.run(ADD, {"id": "a", "amount": 1, "filled": False})
        for at in TIMES:
            tx.run(ADD, {"id": f"b{at}"})
            tx.run(ADD, {"amount": 7, "id": f"c{at}"})
        rows = {row.id: tuple(row)[1:] for row in tx.all(ALL)}
        assert rows.pop("a") == (1, False)
        assert rows == {f"b{at}": (None, None) for at in TIMES} | {f"c{at}": (7, None) for at in TIMES}

    await database.write(work)


async def test_many_are_written_each_time(database: SqliteDatabase) -> None:
    def work(tx: WriteTx) -> None:
        for at in TIMES:
            tx.run_many(ADD, [{"id": f"{at}-{one}", "amount": one, "filled": True} for one in range(2)])
        tx.run_many(ADD, [])
        assert len(tx.all(ALL)) == 2 * len(TIMES)

    await database.write(work)


async def test_a_broken_constraint_has_one_name_and_tells_no_parameter(database: SqliteDatabase) -> None:
    row = {"id": "secret", "amount": 1, "filled": None}
    await database.write(lambda tx: tx.run(ADD, row))
    for _ in TIMES:
        with pytest.raises(IntegrityError) as told:
            await database.write(lambda tx: tx.run(ADD, row))
        assert "orders.id" in str(told.value)
        assert "secret" not in str(told.value)
        with pytest.raises(IntegrityError) as told:
            await database.write(lambda tx: tx.run_many(ADD, [row, row]))
        assert "secret" not in str(told.value)


async def test_whoever_listens_to_sqlalchemy_is_told(database: SqliteDatabase) -> None:
    def work(tx: WriteTx) -> list[str]:
        with listening(tx._connection) as sent:
            for _ in TIMES:
                tx.first(ALL)
                tx.run(FILL, {"key": "1"})
        return [statement.split()[0] for statement, _ in sent]

    assert await database.write(work) == ["SELECT", "UPDATE"] * len(TIMES)


async def test_a_row_that_was_asked_for_alone_leaves_nothing_open(database: SqliteDatabase) -> None:
    rows = [{"id": str(at), "amount": at, "filled": None} for at in range(5)]
    await database.write(lambda tx: tx.run_many(ADD, rows))
    for _ in TIMES:
        await database.write(lambda tx: (tx.first(ALL), tx.run(FILL, {"key": "1"}))[1])
        assert tuple(await database.read(lambda tx: tx.first(ALL)) or ()) == ("0", 0, None)


async def test_statements_made_on_the_spot_are_not_kept(database: SqliteDatabase) -> None:
    def work(tx: WriteTx) -> int:
        for at in range(50):
            tx.all(select(ORDERS).where(ORDERS.c.amount == at))
        gc.collect()
        assert isinstance(tx, SqliteWriteTx)
        return len(tx._statements._known)

    assert await database.write(work) < 5


async def test_a_read_that_broke_disturbs_none_that_comes_later(database: SqliteDatabase) -> None:
    def work(tx: WriteTx) -> int:
        assert isinstance(tx, SqliteWriteTx)
        tx.run_many(ADD, [{"id": str(at), "amount": at, "filled": None} for at in range(5)])
        tx.all(ALL)
        tx.run(text("UPDATE orders SET id = CAST(X'FF00FF' AS TEXT) WHERE id = '3'"))
        broken = [_failure_of(tx) for _ in TIMES]
        tx.run(text("UPDATE orders SET id = '3' WHERE amount = 3"))
        one = tx._statements.compiled(ALL, {})
        assert one is not None
        cursor = tx._statements.send(one, {})
        broken.clear()
        gc.collect()
        return len(cursor.fetchall())

    assert await database.write(work) == 5


def _failure_of(tx: WriteTx) -> Exception:
    try:
        tx.all(ALL)
    except Exception as failure:
        return failure
    raise AssertionError("it was read")
