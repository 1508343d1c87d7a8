"""Processes over one store: one writes a SQLite file at a time, and one that is killed loses nothing it promised."""

import subprocess
import sys

import pytest

from app.db.migrations import current, head
from app.db.opening import open_database
from app.db.sqlite import DatabaseInUse
from tests.fixtures.processes import ROOT
from tests.integration.db import notes
from tests.integration.db.closing import aclosed

pytestmark = pytest.mark.anyio

KILLS = 20
TIMEOUT_S = 30


def ops(verb: str, url: str) -> "subprocess.Popen[str]":
    """Start a verb of the operator's command line."""
    command = [sys.executable, "-m", "ops", verb]
    env = {"DATABASE_URL": url, "API_KEY": "sk-x"}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Wait for a program; return its status and what it printed."""
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, out, err
    finally:
        process.kill()


async def test_a_second_process_is_refused_while_the_first_has_the_file(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    refusal = f"{path} is in use by another process (its lock is {path}.lock)."
    async with aclosed(await open_database(sqlite_url)):
        with pytest.raises(DatabaseInUse, match=r"is in use by another process") as refused:
            await (await open_database(sqlite_url)).close()
        assert str(refused.value) == refusal
        for status, out, err in [ended(started) for started in [ops("serve", sqlite_url), ops("migrate", sqlite_url)]]:
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
    for status, out, err in [ended(started) for started in [ops("migrate", empty_database_url) for _ in range(2)]]:
        assert (status, out, err) == (0, f"schema revision {head()}\n", "")


async def test_two_processes_that_migrate_at_once_leave_one_whole_schema_on_sqlite(empty_sqlite_url: str) -> None:
    outcomes = [ended(started) for started in [ops("migrate", empty_sqlite_url) for _ in range(2)]]
    assert (0, f"schema revision {head()}\n", "") in outcomes
    for status, _, err in outcomes:
        assert status == 0 or (status == 1 and "is in use by another process" in err)
    async with aclosed(await open_database(empty_sqlite_url)) as database:
        assert await database.read(lambda tx: current(tx._connection)) == head()
