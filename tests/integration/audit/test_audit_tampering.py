"""Whoever can write to the database can change its rows, and `verify` says where. On both engines, in plain SQL."""

from typing import Any

import pytest

from app.audit.chain import START, Link
from app.audit.schemas import AuditFault, RecordFilter, Span
from app.db.opening import open_database
from app.kit.pages import PageQuery
from tests.integration.audit.audited import Audited
from tests.integration.db.closing import aclosed

pytestmark = pytest.mark.anyio

RECORDS = 12

COLUMNS: dict[str, Any] = {
    "at": 1_700_000_001,
    "request_id": "req_2",
    "key_id": "key_2",
    "project_id": None,
    "address": "10.0.0.2",
    "action": "thread.update",
    "object_id": "thread_of_another",
    "outcome": "denied",
    "times": 2,
    "hash": START.hash,
}

COPY = """
    INSERT INTO audit (position, at, request_id, key_id, project_id, address, action, object_id, outcome, times, hash)
    SELECT {position}, at, request_id, key_id, project_id, address, action, 'thread_forged', outcome, times, hash
    FROM audit WHERE position = 5
"""
UNGUARD = "DROP INDEX ux_audit_position"


@pytest.fixture
async def chain(audited: Audited) -> Audited:
    """Give a sealed chain of a dozen records."""
    await audited.write(RECORDS)
    await audited.keeper.settle()
    assert (await audited.service.verify(Span())).valid
    return audited


async def fault_of(audited: Audited, **span: Link) -> tuple[int, str] | None:
    """Verify; return what was found, and hold that what comes before is said to be sound."""
    found = await audited.service.verify(Span(**span))
    if found.fault is None:
        assert found.valid
        return None
    assert not found.valid
    assert found.position < max(found.fault.position, 1) or found.fault.reason in ("inserted", "rewritten")
    return found.fault.position, found.fault.reason


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_changed_column_is_located(chain: Audited, column: str) -> None:
    await chain.alter(f"UPDATE audit SET {column} = :to WHERE position = 7", to=COLUMNS[column])
    assert await fault_of(chain) == (7, "changed")


@pytest.mark.parametrize("position", [1, RECORDS])
async def test_so_it_is_in_the_first_row_and_in_the_last(chain: Audited, position: int) -> None:
    await chain.alter("UPDATE audit SET times = 2 WHERE position = :at", at=position)
    assert await fault_of(chain) == (position, "changed")


@pytest.mark.parametrize("position", [1, 7, RECORDS - 1])
async def test_a_removed_row_is_located(chain: Audited, position: int) -> None:
    await chain.alter("DELETE FROM audit WHERE position = :at", at=position)
    assert await fault_of(chain) == (position, "missing")


async def test_closing_the_gap_does_not_help(chain: Audited) -> None:
    await chain.alter("DELETE FROM audit WHERE position = 4")
    for position in range(5, RECORDS + 1):
        await chain.alter("UPDATE audit SET position = :to WHERE position = :at", at=position, to=position - 1)
    assert await fault_of(chain) == (4, "changed")


async def test_an_inserted_row_is_located(chain: Audited) -> None:
    await chain.alter(UNGUARD)
    await chain.alter(COPY.format(position=5))
    # Which of the two comes first is the engine's to say: the forged one is not what was sealed, the other is too many.
    assert await fault_of(chain) in ((5, "inserted"), (5, "changed"))


async def test_so_it_is_where_the_rows_after_it_made_room(chain: Audited) -> None:
    for position in range(RECORDS, 5, -1):
        await chain.alter("UPDATE audit SET position = :to WHERE position = :at", at=position, to=position + 1)
    await chain.alter(COPY.format(position=6))
    assert await fault_of(chain) == (6, "changed")


@pytest.mark.parametrize("position", [0, -3])
async def test_so_it_is_before_the_first(chain: Audited, position: int) -> None:
    await chain.alter(COPY.format(position=position))
    assert await fault_of(chain) == (position, "inserted")


async def test_rows_that_changed_places_are_located(chain: Audited) -> None:
    for old, new in ((3, 99), (8, 3), (99, 8)):
        await chain.alter("UPDATE audit SET position = :new WHERE position = :old", old=old, new=new)
    assert await fault_of(chain) == (3, "changed")


async def test_a_row_that_is_taken_out_of_the_chain_leaves_a_gap_though_it_is_sealed_again(chain: Audited) -> None:
    await chain.alter("UPDATE audit SET position = NULL, hash = NULL WHERE position = 6")
    await chain.keeper.settle()
    assert await fault_of(chain) == (6, "missing")
    assert (await chain.keeper.head()).position == RECORDS + 1


async def test_cutting_off_the_end_is_found_by_an_anchor_alone(chain: Audited) -> None:
    anchor = await chain.keeper.head()
    await chain.alter("DELETE FROM audit WHERE position > 8")
    assert await fault_of(chain) is None
    assert await fault_of(chain, anchor=anchor) == (9, "cut_off")
    await chain.write(RECORDS)
    await chain.keeper.settle()
    assert await fault_of(chain) is None
    assert await fault_of(chain, anchor=anchor) == (anchor.position, "rewritten")


async def test_an_anchor_of_before_holds_however_the_chain_has_grown(chain: Audited) -> None:
    anchor = await chain.keeper.head()
    for _ in range(3):
        assert await fault_of(chain, anchor=anchor) is None
        assert await fault_of(chain, after=anchor) is None
        await chain.write(2)
        await chain.keeper.settle()
    assert await fault_of(chain, anchor=START) is None
    forged = Link(anchor.position, START.hash)
    assert await fault_of(chain, anchor=forged) == (anchor.position, "rewritten")
    assert await fault_of(chain, after=forged) == (anchor.position, "rewritten")
    assert await fault_of(chain, after=Link(99, START.hash)) == (99, "missing")


async def test_what_is_not_yet_sealed_can_still_be_changed_without_a_trace(chain: Audited) -> None:
    # What docs/audit.md says of the second before the seal.
    await chain.write(1)
    await chain.alter("UPDATE audit SET object_id = 'thread_forged' WHERE position IS NULL")
    await chain.keeper.settle()
    assert await fault_of(chain) is None


@pytest.mark.parametrize("fault_at", [1000, 1001, 2300])
async def test_a_fault_is_located_in_a_chain_of_several_windows(audited: Audited, fault_at: int) -> None:
    await audited.alter(
        """
        INSERT INTO audit (at, action, outcome, times)
        WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2500)
        SELECT n, 'thread.create', 'ok', 1 FROM numbers
        """
    )
    await audited.keeper.settle()
    await audited.alter("UPDATE audit SET times = 2 WHERE position = :at", at=fault_at)
    assert await fault_of(audited) == (fault_at, "changed")


ODDITIES = {
    "text as a time": ("UPDATE audit SET at = 'noon' WHERE position = 5", "changed"),
    "a fraction as a time": ("UPDATE audit SET at = 1.5 WHERE position = 5", "changed"),
    "bytes as text": ("UPDATE audit SET action = CAST(action AS BLOB) WHERE position = 5", "changed"),
    "bytes as a hash": ("UPDATE audit SET hash = CAST(hash AS BLOB) WHERE position = 5", "changed"),
    "no text at all": ("UPDATE audit SET object_id = CAST(X'FF00FF' AS TEXT) WHERE position = 5", "unreadable"),
    "a position between two": (COPY.format(position="4.5"), "inserted"),
}


@pytest.fixture
async def sqlite_chain(sqlite_url: str, anyio_backend: str) -> Any:
    """Give a sealed chain in a SQLite file, which takes any value in any column."""
    async with aclosed(await open_database(sqlite_url)) as database:
        audited = Audited(database)
        await audited.write(RECORDS)
        await audited.keeper.settle()
        yield audited


@pytest.mark.parametrize("name", ODDITIES)
async def test_values_of_another_kind_are_located_too(sqlite_chain: Audited, name: str) -> None:
    statement, reason = ODDITIES[name]
    await sqlite_chain.alter(statement)
    assert await fault_of(sqlite_chain) == (5, reason)


async def test_a_head_that_is_none_ends_the_sealing_and_not_the_reading(
    sqlite_chain: Audited, caplog: pytest.LogCaptureFixture
) -> None:
    await sqlite_chain.alter(COPY.format(position="'the last'"))
    await sqlite_chain.write(1)
    await sqlite_chain.keeper.close()
    assert "cannot be continued" in caplog.text
    page = await sqlite_chain.service.page(RecordFilter(), PageQuery(order="asc"))
    assert [record.position for record in page.data[:RECORDS]] == list(range(1, RECORDS + 1))
    found = await sqlite_chain.service.verify(Span())
    assert (found.fault, found.position) == (AuditFault(position=RECORDS + 1, reason="inserted"), RECORDS)
