"""A full disk, a lock that is not given up, a server that goes away: said so, nothing half done, no harm after."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from app.db.database import CannotOpen, Database, ReadTx, StorageFailed, WriteTx
from app.db.postgres import PostgresDatabase
from app.db.sqlite import SqliteDatabase
from app.errors import InvalidRequest
from tests.fixtures.processes import free_port
from tests.fixtures.rooms import Served
from tests.integration.db import notes
from tests.integration.db.closing import aclosed

pytestmark = pytest.mark.anyio

MEANWHILE_S = 10
BUSY_MS = 50
LARGE = "x" * 2_000_000


@contextmanager
def locked_by_another(path: Path) -> Iterator[None]:
    """Hold a file's write lock from a connection that is none of ours."""
    foreign = sqlite3.connect(path, timeout=0, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        foreign.execute("ROLLBACK")
        foreign.close()


def allow_pages(more: int, tx: WriteTx) -> None:
    """Let the file grow by as many pages and no further, like a disk that is nearly full."""
    used = tx.all(text("PRAGMA page_count"))[0][0]
    tx.all(text(f"PRAGMA max_page_count={used + more}"))


async def test_a_full_disk_fails_the_write_and_keeps_the_store_whole(file_store: SqliteDatabase) -> None:
    await file_store.write(notes.add(1))
    await file_store.write(lambda tx: allow_pages(20, tx))
    with pytest.raises(StorageFailed) as failure:
        await file_store.write(notes.add(2, LARGE))
    assert "full" in str(failure.value.__cause__)
    assert await file_store.read(notes.numbers) == [1]
    assert await file_store.write(notes.add(3)) == 3
    await file_store.write(lambda tx: allow_pages(10_000, tx))
    assert await file_store.write(notes.add(2, LARGE)) == 2
    assert await file_store.read(notes.numbers) == [1, 2, 3]


async def test_a_write_too_large_for_the_disk_does_not_lie_about_those_beside_it(file_store: SqliteDatabase) -> None:
    await file_store.write(lambda tx: allow_pages(20, tx))
    writing = [file_store.write(notes.add(number, LARGE if number == 7 else "")) for number in range(20)]
    outcomes = await asyncio.gather(*writing, return_exceptions=True)
    assert isinstance(outcomes[7], StorageFailed)
    acknowledged = [outcome for outcome in outcomes if not isinstance(outcome, StorageFailed)]
    assert await file_store.read(notes.numbers) == acknowledged


async def test_a_lock_that_another_program_holds_fails_every_write_of_the_batch(tmp_path: Path) -> None:
    opening = SqliteDatabase.open(tmp_path / "notes.db", prepare=notes.prepare, busy_timeout_ms=BUSY_MS)
    async with aclosed(await opening) as store:
        await store.write(notes.add(0))
        with locked_by_another(store.path):
            writing = [store.write(notes.add(number)) for number in range(1, 6)]
            outcomes = await asyncio.gather(*writing, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [StorageFailed] * 5
            assert await store.read(notes.numbers) == [0]
        assert await store.write(notes.add(6)) == 6
        assert await store.read(notes.numbers) == [0, 6]


async def test_a_store_that_another_program_locked_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.touch()
    with locked_by_another(path), pytest.raises(CannotOpen, match=r"notes\.db: database is locked"):
        await (await SqliteDatabase.open(path, prepare=notes.prepare, busy_timeout_ms=BUSY_MS)).close()
    await (await SqliteDatabase.open(path, prepare=notes.prepare)).close()


async def test_clients_are_told_503_and_when_to_come_back_while_the_disk_is_full(opened_api: Served) -> None:
    client, database, _ = opened_api
    await database.write(lambda tx: allow_pages(0, tx))
    answer = await client.post("/v1/assistants", json={"model": "any", "instructions": LARGE[:200_000]})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"] == {
        "message": "The server could not reach its storage. Nothing was changed.",
        "type": "service_unavailable_error",
        "param": None,
        "code": None,
    }
    assert (await client.get("/v1/assistants")).json()["data"] == []
    await database.write(lambda tx: allow_pages(10_000, tx))
    assert (await client.post("/v1/assistants", json={"model": "any"})).status_code == 200


async def test_clients_are_told_503_while_another_program_locks_the_file(opened_api: Served) -> None:
    client, database, _ = opened_api
    assert isinstance(database, SqliteDatabase)
    await database.write(lambda tx: tx.all(text(f"PRAGMA busy_timeout={BUSY_MS}")))
    with locked_by_another(database.path):
        answer = await client.post("/v1/threads", json={})
        assert answer.status_code == 503
        assert answer.json()["error"]["type"] == "service_unavailable_error"
    assert (await client.post("/v1/threads", json={})).status_code == 200


@asynccontextmanager
async def relayed(url: str) -> AsyncIterator[tuple[str, asyncio.Server, set[asyncio.StreamWriter]]]:
    """Put a relay before a PostgreSQL server; closing it is what a server that goes away looks like."""
    target = make_url(url)
    writers: set[asyncio.StreamWriter] = set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        writers.add(sink)
        while data := await source.read(65_536):
            sink.write(data)
        sink.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(target.host, target.port)
        await asyncio.gather(pump(reader, upstream_writer), pump(upstream_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield target.set(port=port).render_as_string(), server, writers
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def test_a_postgresql_server_that_goes_away_is_a_storage_failure(empty_postgres_url: str) -> None:
    async with (
        relayed(empty_postgres_url) as (url, server, writers),
        aclosed(await PostgresDatabase.open(make_url(url), prepare=notes.prepare)) as store,
    ):
        assert await store.write(notes.add(1)) == 1
        server.close()
        for writer in writers:
            writer.transport.abort()
        for _ in range(3):
            for carry_out in (store.write(notes.add(2)), store.read(notes.numbers)):
                with pytest.raises(StorageFailed):
                    await carry_out


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_connection_that_postgresql_ends_fails_its_work_and_is_replaced(store: Database) -> None:
    await store.write(notes.add(1))

    def ended_halfway(tx: WriteTx) -> None:
        notes.add(2)(tx)
        tx.all(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(StorageFailed):
        await store.write(ended_halfway)
    assert await store.write(notes.add(3)) == 3
    assert await store.read(notes.numbers) == [1, 3]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_text_that_postgresql_cannot_hold_is_the_clients_error(store: Database) -> None:
    with pytest.raises(InvalidRequest, match=r"U\+0000"):
        await store.write(notes.add(1, "a\x00b"))
    assert await store.read(notes.numbers) == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_transaction_that_began_ends_as_it_would_though_its_caller_left(store: Database) -> None:
    def slow(tx: WriteTx) -> None:
        tx.first(text("SELECT pg_sleep(0.2)"))
        notes.add(1)(tx)

    writing = asyncio.create_task(store.write(slow))
    await asyncio.sleep(0.1)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await store.close()
    for refused in (store.write(notes.add(2)), store.read(notes.numbers)):
        with pytest.raises(StorageFailed):
            await refused


async def test_a_postgresql_server_that_is_not_there_is_one_line_without_the_password() -> None:
    url = make_url(f"postgresql://sovereign:a-secret@127.0.0.1:{free_port()}/store")
    with pytest.raises(CannotOpen) as refusal:
        await (await PostgresDatabase.open(url, prepare=notes.prepare)).close()
    line = str(refusal.value)
    assert line.startswith("cannot open the database store on 127.0.0.1: ")
    assert "a-secret" not in line
    assert len(line.splitlines()) == 1


async def test_a_postgresql_database_that_does_not_exist_is_one_line(postgres_url: str) -> None:
    with pytest.raises(CannotOpen, match=r'^cannot open the database nowhere on .*: database "nowhere" does'):
        await (await PostgresDatabase.open(make_url(f"{postgres_url}/nowhere"), prepare=notes.prepare)).close()


async def test_what_is_not_a_database_is_one_line(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_text("this is no database, whatever its name says " * 40)
    for path, reason in (
        (garbage, "file is not a database"),
        (tmp_path, "unable to open"),
        (garbage / "x.db", "exists"),
    ):
        with pytest.raises(CannotOpen) as refusal:
            await (await SqliteDatabase.open(path, prepare=notes.prepare)).close()
        assert str(path) in str(refusal.value)
        assert reason in str(refusal.value)
        assert len(str(refusal.value).splitlines()) == 1


async def test_failures_are_logged_by_kind_and_never_with_what_was_to_be_stored(
    store: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(tx: ReadTx) -> None:
        tx.first(text("SELECT * FROM nowhere WHERE body = :body"), {"body": "a private sentence"})

    with pytest.raises(StorageFailed):
        await store.read(broken)
    [record] = [record for record in caplog.records if record.name == "app.db.database"]
    assert vars(record)["failure"] in ("SQLITE_ERROR", "42P01")
    assert "private" not in caplog.text
