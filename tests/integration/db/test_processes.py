"""Processes over one store: one writes a SQLite file at a time, and one that is killed loses nothing it promised."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.db.migrations import current, head
from app.db.opening import open_database
from app.db.sqlite import DatabaseInUse
from tests.fixtures.forks import ROOT, run
from tests.integration.db import notes
from tests.integration.db.closing import aclosed

pytestmark = pytest.mark.anyio

KILLS = 20
TIMEOUT_S = 30


def run_at_once(url: str, *verbs: str) -> list[tuple[int, str, str]]:
    """Run verbs of the operator's command line beside each other; return their statuses and what they printed."""
    env = {"DATABASE_URL": url, "API_KEY": "sk-x"}
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda verb: run([verb], env), verbs))
    return [(one.returncode, one.stdout, one.stderr) for one in done]


async def test_a_second_process_is_refused_while_the_first_has_the_file(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    refusal = f"{path} is in use by another process (its lock is {path}.lock)."
    async with aclosed(await open_database(sqlite_url)):
        with pytest.raises(DatabaseInUse, match=r"is in use by another process") as refused:
            await (await open_database(sqlite_url)).close()
        assert str(refused.value) == refusal
        for status, out, err in run_at_once(sqlite_url, "serve", "migrate"):
            assert (status, out, err) == (1, "", f"error: {refusal}\n")
    await (await open_database(sqlite_url)).close()


async def test_a_writer_killed_at_any_moment_loses_nothing_it_acknowledged(sqlite_url: str) -> None:
    command = [sys.executable, "-m", "tests.integration.db.killed_writers", sqlite_url, str(KILLS)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert told.returncode == 0, told.stderr
    writers = [[int(number) for number in line.split()] for line in told.stdout.splitlines()]
    assert len(writers) == KILLS
    assert all(writers)
    async with aclosed(await open_database(sqlite_url)) as database:
        kept = set(await database.read(notes.numbers))
        [(whole,)] = await database.write(lambda tx: tx.all(notes.INTEGRITY))
    assert whole == "ok"
    assert [number for writer in writers for number in writer if number not in kept] == []


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
async def test_two_processes_that_migrate_at_once_both_succeed_on_postgresql(empty_database_url: str) -> None:
    for status, out, err in run_at_once(empty_database_url, "migrate", "migrate"):
        assert (status, out, err) == (0, f"schema revision {head()}\n", "")


async def test_two_processes_that_migrate_at_once_leave_one_whole_schema_on_sqlite(empty_sqlite_url: str) -> None:
    outcomes = run_at_once(empty_sqlite_url, "migrate", "migrate")
    assert (0, f"schema revision {head()}\n", "") in outcomes
    for status, _, err in outcomes:
        assert status == 0 or (status == 1 and "is in use by another process" in err)
    async with aclosed(await open_database(empty_sqlite_url)) as database:
        assert await database.read(lambda tx: current(tx._connection)) == head()
