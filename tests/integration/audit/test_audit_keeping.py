"""Records are in the transaction of their change, sealed soon after, once, and in one order. On both engines."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from app.audit.keeper import EVERY_S, AuditKeeper
from app.audit.repository import has_waiting, head, read_records, rows_from, seal
from app.audit.schemas import RecordFilter, Span
from app.db.database import Database, StorageFailed, WriteTx
from app.db.opening import open_database
from app.kit.pages import PageQuery
from app.kit.tasks import TaskOwner
from tests.fakes.database import TroubledDatabase
from tests.integration.audit.audited import Audited, add
from tests.integration.db.closing import aclosed
from tests.integration.db.plans import listening, plan_of

pytestmark = pytest.mark.anyio

SOON_S = 10 * EVERY_S


class Refused(Exception):
    """A work's own failure."""


def change_and_fail(tx: WriteTx) -> None:
    add(tx, "thread_never")
    raise Refused


async def test_a_change_that_fails_leaves_no_record(audited: Audited) -> None:
    with pytest.raises(Refused):
        await audited.database.write(change_and_fail)
    await audited.write(1)
    assert [row[1] for row in await audited.rows()] == ["thread_0"]


async def test_a_record_that_cannot_be_written_takes_its_change_along(audited: Audited) -> None:
    await audited.alter("CREATE TABLE changes (id INTEGER)")

    def change(tx: WriteTx) -> None:
        tx.run(text("INSERT INTO changes VALUES (1)"))
        add(tx, None, None)  # type: ignore[arg-type]  # an action is demanded

    with pytest.raises(Exception, match="action"):
        await audited.database.write(change)
    assert await audited.database.read(lambda tx: tx.all(text("SELECT * FROM changes"))) == []


async def test_a_record_costs_one_statement(audited: Audited) -> None:
    sent: list[Any] = []

    def work(tx: WriteTx) -> None:
        with listening(tx._connection) as statements:
            add(tx, "thread_1")
        sent.extend(statements)

    await audited.database.write(work)
    assert len(sent) == 1
    assert "RETURNING" not in sent[0][0]


async def test_what_is_written_is_sealed_in_the_order_of_its_writing(audited: Audited) -> None:
    await audited.write(3)
    assert [row[0] for row in await audited.rows()] == [None] * 3
    newest = await audited.keeper.head()
    rows = await audited.rows()
    assert [row[:2] for row in rows] == [(1, "thread_0"), (2, "thread_1"), (3, "thread_2")]
    assert (newest.position, newest.hash) == (3, rows[-1][2])
    await audited.keeper.settle()
    assert await audited.rows() == rows
    assert (await audited.service.verify(Span())).valid


async def test_more_than_fits_into_one_transaction_is_sealed_all_the_same(audited: Audited) -> None:
    def many(tx: WriteTx) -> None:
        for number in range(2345):
            add(tx, f"thread_{number}")

    await audited.database.write(many)
    assert (await audited.keeper.head()).position == 2345
    found = await audited.service.verify(Span())
    assert (found.valid, found.position, found.has_more) == (True, 2345, False)
    parts, after = [], None
    while (part := await audited.service.verify(Span(after=after), part=1000)).has_more:
        assert part.valid
        after = type(await audited.keeper.head())(part.position, part.hash)
        parts.append(part.position)
    assert (parts, part.valid, part.position) == ([1000, 2000], True, 2345)


async def test_a_process_that_died_before_it_sealed_is_followed_by_one_that_does(database_url: str) -> None:
    async with aclosed(await open_database(database_url)) as database:
        before = Audited(database)
        await before.write(2)
        await before.keeper.settle()
        await before.write(2)
    async with aclosed(await open_database(database_url)) as database:
        after = Audited(database)
        assert [row[0] for row in await after.rows()] == [1, 2, None, None]
        assert (await after.keeper.head()).position == 4
        assert (await after.service.verify(Span())).valid


async def test_two_processes_that_write_and_seal_at_once_make_one_chain(empty_postgres_url: str) -> None:
    async with (
        aclosed(await open_database(empty_postgres_url)) as one,
        aclosed(await open_database(empty_postgres_url)) as other,
    ):
        replicas = [Audited(one), Audited(other)]

        async def live(replica: Audited) -> None:
            for _ in range(25):
                await asyncio.gather(replica.write(2), replica.keeper.settle(), replica.keeper.settle())

        await asyncio.gather(*(live(replica) for replica in replicas for _ in range(2)))
        found = await replicas[0].keeper.head()
        assert found.position == 200
        assert (await replicas[1].service.verify(Span())).valid


async def test_a_transaction_that_commits_late_is_sealed_after_what_was_sealed_before_it(
    empty_postgres_url: str,
) -> None:
    async with aclosed(await open_database(empty_postgres_url)) as database:
        audited = Audited(database)
        written, go_on = asyncio.Event(), asyncio.Event()

        async def late() -> None:
            async with database._engine.begin() as connection:  # type: ignore[attr-defined]
                await connection.run_sync(lambda sync: add(WriteTx(sync), "thread_late"))
                written.set()
                await go_on.wait()

        task = asyncio.create_task(late())
        await written.wait()
        await audited.write(1)
        assert (await audited.keeper.head()).position == 1
        go_on.set()
        await task
        assert (await audited.keeper.head()).position == 2
        assert [row[:2] for row in await audited.rows()] == [(2, "thread_late"), (1, "thread_0")]
        assert (await audited.service.verify(Span())).valid


async def test_the_keeper_settles_by_itself_and_for_the_last_time_when_it_closes(
    audited: Audited, caplog: pytest.LogCaptureFixture
) -> None:
    owner = TaskOwner()
    owner.start(audited.keeper.keep(), name="audit")
    audited.denials.note("access.denied", "invalid_api_key", request_id="req_1", address="::1")
    async with asyncio.timeout(SOON_S):
        while await audited.database.read(head) != await audited.keeper.head() or not await audited.rows():
            await asyncio.sleep(0.01)
    await owner.close()
    audited.denials.note("access.denied", "missing_scope", request_id="req_2", address="::1")
    await audited.write(1)
    caplog.set_level("INFO", "app.audit.keeper")
    await audited.keeper.close()
    rows = await audited.rows()
    assert [row[:2] for row in rows] == [(1, None), (2, "thread_0"), (3, None)]
    [line] = caplog.records
    assert (vars(line)["position"], vars(line)["hash"]) == (3, rows[-1][2])


async def test_what_the_storage_would_not_take_is_kept_and_written_once(database: Database) -> None:
    troubled = TroubledDatabase(database)
    audited = Audited(troubled)
    audited.denials.note("access.denied", "invalid_api_key", request_id="req_1", address="::1")
    troubled.failures = 2
    for _ in range(2):
        with pytest.raises(StorageFailed):
            await audited.keeper.settle()
    audited.denials.note("access.denied", "invalid_api_key", request_id="req_2", address="::1")
    await audited.keeper.settle()
    [record] = (await audited.service.page(RecordFilter(), PageQuery())).data
    assert (record.request_id, record.times, record.position) == ("req_1", 2, 1)


async def test_a_storage_that_fails_does_not_end_the_keeper(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    troubled = TroubledDatabase(database)
    audited = Audited(troubled)
    await audited.write(1)
    troubled.failures = 1
    await AuditKeeper(troubled, audited.denials).close()
    assert "trying again" in caplog.text
    await AuditKeeper(troubled, audited.denials).close()
    assert [row[0] for row in await audited.rows()] == [1]


async def test_statements_are_led_by_an_index_and_sort_nothing(audited: Audited) -> None:
    def fill(tx: WriteTx) -> None:
        for number in range(3000):
            add(tx, f"thread_{number}")

    await audited.database.write(fill)
    await audited.keeper.settle()
    await audited.write(3)
    await audited.alter("ANALYZE audit")

    def look(tx: WriteTx) -> list[Any]:
        with listening(tx._connection) as sent:
            newest = head(tx)
            has_waiting(tx)
            seal(tx, 2)
            rows_from(tx, newest, 10)
            read_records(tx, RecordFilter(), PageQuery())
            read_records(tx, RecordFilter(), PageQuery(order="asc", after="audit_1500"))
            read_records(tx, RecordFilter(), PageQuery(before="audit_1500"))
        return [plan_of(tx, one) for one in sent if "advisory" not in one[0]]

    plans = await audited.database.write(look)
    assert len(plans) == 9
    for plan in plans:
        assert not plan.sorts, plan
        assert not plan.scans, plan
