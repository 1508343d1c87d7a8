"""Restores: nothing is touched before the snapshot is proven, nothing is lost, and a cut-off one goes on."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine

from app.db.migrations import configuration, head
from app.db.opening import open_database
from app.db.sqlite import lock_file
from app.settings import load_settings
from ops.backup.failures import BackupFailed
from ops.backup.manifest import time_of
from ops.backup.opening import Parts, parts_of
from ops.backup.planning import choose
from ops.backup.restoring import Restoring
from ops.backup.settings import BackupSettings
from ops.backup.switching import NoServer, carry_on
from tests.fixtures.backups import change, make_state, messages_in, ops, parts_for, take, threads_in, writing

STAGES = ("list", "proven", "migrated", "staged")
SWAPS = ("swapping", "kept", "left-overs", "renamed", "swapped")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a database with some conversations."""
    path = tmp_path / "data" / "sovereign_assistant.db"
    make_state(path, threads=3)
    return path


@pytest.fixture
def parts(state: Path, tmp_path: Path) -> Parts:
    """Give parts with one snapshot, of before a thread was lost."""
    change(state, "thread_lost")
    made = parts_for(state, tmp_path / "backups")
    take(made)
    with closing(sqlite3.connect(state, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("DELETE FROM threads WHERE id = 'thread_lost'")
    return made


@pytest.fixture
def env(state: Path, tmp_path: Path) -> dict[str, str]:
    """Give the environment of an operator."""
    return {"DATABASE_URL": f"sqlite:///{state}", "BACKUP_DIR": str(tmp_path / "backups")}


class Killed(BaseException):
    """The process ends here."""


def at(step: str) -> Callable[[str], None]:
    """Return what ends the process at a step."""

    def reached(now: str) -> None:
        if now == step:
            raise Killed

    return reached


class FakeServer:
    """An API that starts, or does not answer."""

    def __init__(self, path: Path, *, well: bool) -> None:
        self._path = path
        self._well = well
        self.did: list[str] = []

    def stop(self) -> None:
        self.did.append("stop")

    def start(self) -> None:
        self.did.append("start")
        change(self._path, f"thread_started{len(self.did)}")

    def answers(self) -> bool:
        return self._well


def stage(parts: Parts, reached: Callable[[str], None] = lambda step: None) -> Restoring:
    files = Restoring(parts.source, reached)
    found = choose(parts, None, None)
    files.stage(found.archive, found.manifest)
    return files


def left(folder: Path) -> set[str]:
    """Return what lies beside a database and should not, once a restore is over."""
    usual = (".db", ".lock", ".revocations", "key_pepper", "-wal", "-shm")
    return {path.name for path in folder.iterdir() if not path.name.endswith(usual)}


def test_what_was_lost_is_back_and_the_state_of_before_is_kept(state: Path, parts: Parts, env: dict[str, str]) -> None:
    with writing(state) as writer:
        newer = writer.read_all(waiting=10)
    before = newer | messages_in(state)
    done = ops("restore", "--yes", env=env)
    assert done.returncode == 0, done.stderr
    assert "thread_lost" in threads_in(state)
    assert not newer & messages_in(state)
    [kept] = left(state.parent)
    assert kept in done.stderr
    assert messages_in(state.parent / kept) == before, "what was only in the -wal, too"


def test_a_dry_run_says_what_would_be_done_and_touches_nothing(state: Path, parts: Parts, env: dict[str, str]) -> None:
    before = {path.name: path.read_bytes() for path in state.parent.iterdir()}
    done = ops("restore", "latest", "--dry-run", "--json", env=env)
    plan = json.loads(done.stdout)
    assert plan["snapshot"] == parts.local.ids()[0]
    assert plan["rows"]["threads"] == 4
    assert plan["schema_to"] == head()
    assert {path.name: path.read_bytes() for path in state.parent.iterdir()} == before


def test_it_refuses_while_a_server_holds_the_state(state: Path, parts: Parts, env: dict[str, str]) -> None:
    with lock_file(state):
        failed = ops("restore", "--yes", env=env)
    assert failed.returncode == 1
    assert "in use by another process" in failed.stderr
    assert "thread_lost" not in threads_in(state)
    assert left(state.parent) == set()


def test_the_newest_snapshot_that_is_not_after_a_time_is_meant(state: Path, parts: Parts, env: dict[str, str]) -> None:
    [first] = parts.local.ids()
    change(state, "thread_after")
    second = take(parts).manifest.id
    assert choose(parts, None, time_of(second) - 0.001).manifest.id == first
    assert choose(parts, None, time_of(second)).manifest.id == second
    assert choose(parts, second[:19], None).manifest.id in (first, second)
    failed = ops("restore", "--at", "2001-01-01", "--yes", env=env)
    assert failed.returncode == 1
    assert "no one snapshot is that old" in failed.stderr


def test_the_newest_is_not_the_empty_state_that_a_lost_disk_leaves_behind(state: Path, parts: Parts) -> None:
    [before] = parts.local.ids()
    make_state(state, threads=0)
    empty = take(parts).manifest.id
    assert choose(parts, None, None).manifest.id == before
    assert choose(parts, "latest", None).manifest.id == before
    assert choose(parts, empty, None).manifest.id == empty
    change(state, "thread_new")
    assert choose(parts, None, None).manifest.id == before
    newest = take(parts).manifest.id
    assert choose(parts, None, None).manifest.id == newest


def test_into_a_folder_nothing_of_the_state_is_touched(
    state: Path, parts: Parts, env: dict[str, str], tmp_path: Path
) -> None:
    before = state.read_bytes()
    with lock_file(state):
        done = ops("restore", "--to", str(tmp_path / "look"), env=env)
        again = ops("restore", "--to", str(tmp_path / "look"), env=env)
    assert done.returncode == 0, done.stderr
    assert "thread_lost" in threads_in(tmp_path / "look" / "sovereign_assistant.db")
    assert state.read_bytes() == before
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_a_snapshot_of_a_newer_release_is_refused(state: Path, parts: Parts, env: dict[str, str]) -> None:
    with closing(sqlite3.connect(state, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    newer = take(parts).manifest.id
    with closing(sqlite3.connect(state, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (head(),))
    before = state.read_bytes()
    failed = ops("restore", newer, "--yes", env=env)
    assert failed.returncode == 1
    assert "schema revision 9999" in failed.stderr
    assert "restore it with that release" in failed.stderr
    assert state.read_bytes() == before


def test_a_snapshot_of_an_older_release_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "data" / "sovereign_assistant.db"
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(configuration(connection), "0005")
    engine.dispose()
    parts = parts_for(path, tmp_path / "backups")
    assert take(parts).manifest.schema_revision == "0005"
    carry_on(stage(parts), NoServer(), lambda words: None)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (head(),)
    asyncio.run(opened(path))


async def opened(path: Path) -> None:
    database = await open_database(f"sqlite:///{path}")
    await database.close()


def test_an_api_that_does_not_answer_on_the_snapshot_gets_the_state_of_before_back(state: Path, parts: Parts) -> None:
    with writing(state) as writer:
        newer = writer.read_all(waiting=10)
    server = FakeServer(state, well=False)
    with pytest.raises(BackupFailed, match="the state of before is back"):
        carry_on(stage(parts), server, lambda words: None)
    assert server.did == ["stop", "start", "stop", "start"]
    assert newer <= messages_in(state)
    assert "thread_lost" not in threads_in(state)
    assert "thread_started2" not in threads_in(state)
    assert "thread_started4" in threads_in(state)
    assert left(state.parent) == set()


def test_where_there_was_no_state_a_failed_restore_leaves_none(state: Path, parts: Parts) -> None:
    for path in state.parent.glob(f"{state.name}*"):
        path.unlink()
    files = stage(parts)
    files.swap()
    assert "thread_lost" in threads_in(state)
    files.undo()
    assert not state.exists()


@pytest.mark.parametrize("step", STAGES)
def test_a_restore_that_is_killed_before_the_swap_has_touched_nothing(state: Path, parts: Parts, step: str) -> None:
    before = state.read_bytes()
    with pytest.raises(Killed):
        stage(parts, at(step))
    assert state.read_bytes() == before
    assert carry_on(stage(parts), NoServer(), lambda words: None)
    assert "thread_lost" in threads_in(state)
    assert len(left(state.parent)) == 1


@pytest.mark.parametrize("step", SWAPS)
def test_a_restore_that_is_killed_in_the_swap_goes_on(state: Path, parts: Parts, step: str) -> None:
    with writing(state) as writer:
        newer = writer.read_all(waiting=10)
    stage(parts)
    with pytest.raises(Killed):
        carry_on(Restoring(parts.source, at(step)), NoServer(), lambda words: None)
    whole = messages_in(state)
    assert newer <= whole or "msg_thread_lost_1" in whole, "either the state of before or the snapshot"
    kept = carry_on(Restoring(parts.source), NoServer(), lambda words: None)
    assert "thread_lost" in threads_in(state)
    assert kept is not None
    assert newer <= messages_in(state.parent / kept)
    assert left(state.parent) == {kept}


@pytest.mark.parametrize("step", ["undoing", "left-overs", "renamed"])
def test_a_rollback_that_is_killed_goes_on(state: Path, parts: Parts, step: str) -> None:
    with writing(state) as writer:
        newer = writer.read_all(waiting=10)
    stage(parts).swap()
    with pytest.raises(Killed):
        carry_on(Restoring(parts.source, at(step)), FakeServer(state, well=False), lambda words: None)
    with pytest.raises(BackupFailed, match="the state of before is back"):
        carry_on(Restoring(parts.source), FakeServer(state, well=False), lambda words: None)
    assert newer <= messages_in(state)
    assert left(state.parent) == set()


def test_another_restore_is_not_begun_while_one_is_unfinished(state: Path, parts: Parts, env: dict[str, str]) -> None:
    stage(parts)
    failed = ops("restore", "20010101T000000.000Z", "--yes", env=env)
    assert failed.returncode == 1
    assert "must end first" in failed.stderr
    done = ops("restore", "--yes", env=env)
    assert "going on with the restore" in done.stderr
    assert "thread_lost" in threads_in(state)


def test_a_damaged_state_is_kept_as_the_files_that_it_is(state: Path, parts: Parts) -> None:
    with writing(state) as writer:
        writer.read_all(waiting=10)
    state.write_bytes(b"this was a database once" * 1000)
    log = state.with_name(f"{state.name}-wal").read_bytes()
    kept = carry_on(stage(parts), NoServer(), lambda words: None)
    assert kept is not None
    assert "thread_lost" in threads_in(state)
    assert (state.parent / kept).read_bytes().startswith(b"this was a database once")
    assert (state.parent / f"{kept}-wal").read_bytes() == log


def test_a_revoked_key_stays_revoked_also_where_the_disk_took_the_journal_along(
    state: Path, env: dict[str, str]
) -> None:
    made = json.loads(ops("keys", "create", "desk", "--json", env=env).stdout)
    assert ops("backup", env=env).returncode == 0
    revoked = ops("keys", "revoke", made["id"], env=env)
    assert revoked.returncode == 0, revoked.stderr
    assert ops("backup", env=env).returncode == 0
    # As after a lost disk: a new journal, and a snapshot that has the new one.
    state.with_name(f"{state.name}.revocations").write_bytes(b"")
    assert ops("backup", env=env).returncode == 0
    first = json.loads(ops("backups", "--json", env=env).stdout)["snapshots"][-1]["id"]
    done = ops("restore", first, "--yes", env=env)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(state)) as connection:
        assert connection.execute("SELECT revoked_at FROM api_keys").fetchone() == (None,), "as the snapshot has it"
    shown = json.loads(ops("keys", "show", made["id"], "--json", env=env).stdout)
    assert shown["revoked_at"] is not None


def test_postgresql_is_backed_up_by_itself() -> None:
    url = "postgresql://nobody@127.0.0.1/nothing"
    with pytest.raises(BackupFailed, match="the database's own job"):
        parts_of(load_settings({"DATABASE_URL": url}), BackupSettings())
    told = ops("backup", env={"DATABASE_URL": url})
    assert told.returncode == 1
    assert "the database's own job" in told.stderr
