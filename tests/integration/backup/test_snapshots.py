"""Snapshots of a real file: what is in them, when there is a new one, and what it costs to keep."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ops.backup.archive import OBJECTS
from ops.backup.database_file import check, uri_to_read
from ops.backup.failures import BackupFailed
from ops.backup.fetch import fetch, prove
from ops.backup.source import Source, StallWatch
from tests.fixtures.backups import (
    change,
    make_state,
    messages_in,
    messages_of,
    ops,
    parts_for,
    snapshotter,
    take,
    threads_in,
    writing,
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a database with some conversations."""
    path = tmp_path / "data" / "sovereign_assistant.db"
    make_state(path)
    return path


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """Give a folder for snapshots."""
    return tmp_path / "backups"


def test_what_was_acknowledged_before_a_snapshot_is_in_it(state: Path, backups: Path, tmp_path: Path) -> None:
    parts = parts_for(state, backups)
    taker = snapshotter(parts)
    with writing(state) as writer:
        for _ in range(8):
            before = writer.read_all(waiting=20)
            taken = taker.take()
            assert taken is not None
            assert taken.is_new
            assert before <= messages_of(parts.local, taken.manifest.id, tmp_path)
    assert len(parts.local.ids()) == 8


def test_a_snapshot_is_the_database_to_the_row(state: Path, backups: Path, tmp_path: Path) -> None:
    parts = parts_for(state, backups)
    manifest = take(parts).manifest
    fetch(parts.local, manifest, tmp_path / "restored.db")
    prove(tmp_path / "restored.db", manifest)
    assert messages_in(tmp_path / "restored.db") == messages_in(state)
    assert manifest.rows["messages"] == len(messages_in(state))
    assert check(tmp_path / "restored.db").marks.revision == manifest.schema_revision
    assert (tmp_path / "restored.db").stat().st_mode & 0o077 == 0


def test_where_nothing_changed_the_snapshot_of_before_stands(state: Path, backups: Path) -> None:
    parts = parts_for(state, backups)
    first = take(parts)
    files = sorted(name for name, _ in parts.local.place.names(""))
    again = take(parts)
    assert not again.is_new
    assert again.manifest == parts.local.manifest(first.manifest.id)
    assert sorted(name for name, _ in parts.local.place.names("")) == files
    change(state, "thread_new")
    assert take(parts).is_new


def test_a_snapshot_stores_the_chunks_that_changed_and_no_others(state: Path, backups: Path) -> None:
    make_state(state.with_name("large.db"), threads=400, messages=10)
    parts = parts_for(state.with_name("large.db"), backups)
    first = take(parts)
    change(state.with_name("large.db"), "thread_new")
    second = take(parts)
    assert first.chunks > 50
    assert second.manifest.new_bytes < first.manifest.new_bytes / 4
    known = {chunk for chunks in parts.local.lists(first.manifest) for chunk in chunks}
    now = {chunk for chunks in parts.local.lists(second.manifest) for chunk in chunks}
    assert len(known & now) > first.chunks / 2


def test_what_is_committed_changes_how_the_source_looks(state: Path) -> None:
    source = Source(state)
    with closing(sqlite3.connect(state, isolation_level=None)) as writer:
        looks = set()
        for number in range(50):
            writer.execute("INSERT INTO projects VALUES (?, 'x', '{}', 1, 1, NULL)", (f"proj_{number}",))
            looks.add(source.state())
            # As a snapshot does, between a look and its copy.
            subprocess.run(["sleep", "0.02"], check=True)
        assert len(looks) == 50


def test_a_revocation_alone_is_a_change(state: Path, backups: Path) -> None:
    parts = parts_for(state, backups)
    take(parts)
    before = parts.source.state()
    journal = state.with_name(f"{state.name}.revocations")
    journal.write_bytes(b'{"id":"key_1"}\n')
    assert parts.source.state() != before
    taken = take(parts)
    assert taken.is_new
    assert taken.manifest.journal is not None
    assert parts.local.get_chunk(taken.manifest.journal) == journal.read_bytes()


def test_an_empty_database_is_no_state_yet(tmp_path: Path, backups: Path) -> None:
    path = tmp_path / "empty.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE something (id)")
    parts = parts_for(path, backups)
    assert snapshotter(parts).take() is None
    assert parts.local.ids() == []


def test_a_missing_database_is_said_so(tmp_path: Path, backups: Path) -> None:
    with pytest.raises(BackupFailed, match="there is no database") as failed:
        take(parts_for(tmp_path / "gone.db", backups))
    assert failed.value.cause == "source_missing"


READER = """
import app, sys
from pathlib import Path
from tests.fixtures.backups import parts_for, take
print(len(take(parts_for(Path(sys.argv[1]), Path(sys.argv[2]))).manifest.rows))
"""


@pytest.mark.parametrize("how", ["clean end", "live", "crash"])
def test_a_read_only_mount_is_read_whether_its_server_lives_ended_or_died(
    state: Path, backups: Path, tmp_path: Path, how: str
) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    with writing(state) as writer:
        acknowledged = writer.read_all(waiting=30)
        if how == "live":
            ran = read_only(state.parent, mounted, state.name, backups)
    if how == "clean end":
        with closing(sqlite3.connect(state)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert not state.with_name(f"{state.name}-wal").exists()
    if how != "live":
        ran = read_only(state.parent, mounted, state.name, backups)
    assert ran.returncode == 0, ran.stderr
    parts = parts_for(state, backups)
    assert acknowledged <= messages_of(parts.local, parts.local.ids()[-1], tmp_path)


def read_only(folder: Path, mounted: Path, name: str, backups: Path) -> "subprocess.CompletedProcess[str]":
    """Take a snapshot in a mount namespace of its own, where the state is mounted read-only."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can mount")
    script = f"mount --bind '{folder}' '{mounted}' && mount -o remount,ro,bind '{mounted}' && exec \"$@\""
    command = [
        "unshare",
        "-m",
        "sh",
        "-c",
        script,
        "sh",
        sys.executable,
        "-c",
        READER,
        str(mounted / name),
        str(backups),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_log_whose_index_is_gone_is_not_guessed_at(state: Path, backups: Path) -> None:
    with writing(state) as writer:
        writer.read_all(waiting=20)
    state.with_name(f"{state.name}-shm").unlink()
    with pytest.raises(BackupFailed, match="start the API once"):
        take(parts_for(state, backups))


def test_a_closed_file_is_read_as_one_that_nobody_changes(state: Path) -> None:
    assert uri_to_read(state).endswith("immutable=1")
    with closing(sqlite3.connect(state)) as connection:
        connection.execute("SELECT count(*) FROM threads").fetchone()
        assert uri_to_read(state).endswith("mode=ro")


HOLDING = """
import app, sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("BEGIN IMMEDIATE")
c.execute("DELETE FROM messages WHERE id = 'none'")
print("begun", flush=True)
sys.stdin.readline()
c.execute("COMMIT")
print("over", flush=True)
sys.stdin.readline()
"""


def test_a_transaction_that_takes_long_is_measured_from_outside(state: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "begun\n"
        with StallWatch(state) as watch:
            subprocess.run(["sleep", "0.2"], check=True)
        assert watch.longest_s >= 0.15
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "over\n"
        with StallWatch(state) as quiet:
            subprocess.run(["sleep", "0.05"], check=True)
        assert quiet.longest_s == 0.0
        holder.stdin.close()


def test_a_disk_that_is_full_is_said_so_and_loses_nothing(state: Path, backups: Path, tmp_path: Path) -> None:
    parts = parts_for(state, backups)
    first = take(parts).manifest
    files = set(parts.local.place.names(OBJECTS))
    change(state, "thread_new")
    env = {"DATABASE_URL": f"sqlite:///{state}", "BACKUP_DIR": str(backups)}
    for limit in (0, 4096, state.stat().st_size - 4096):
        failed = ops("backup", env=env, limit=limit)
        assert failed.returncode == 1
        assert "no space is left" in failed.stderr, failed.stderr
        assert set(parts.local.place.names(OBJECTS)) == files
        assert parts.local.ids() == [first.id]
    assert messages_of(parts.local, first.id, tmp_path) < messages_in(state)
    assert ops("backup", env=env).returncode == 0
    assert "thread_new" in threads_in(state)


def test_a_small_disk_that_fills_up_while_chunks_are_stored_keeps_every_snapshot(state: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)], check=True)
    try:
        parts = parts_for(state, disk / "backups")
        first = take(parts).manifest
        (disk / "others").write_bytes(bytes(max(0, shutil.disk_usage(disk).free - state.stat().st_size - 20_000)))
        for number in range(40):
            change(state, f"thread_new{number}")
        with pytest.raises(BackupFailed) as failed:
            take(parts)
        assert failed.value.cause == "disk_full"
        assert parts.local.ids() == [first.id]
        assert messages_of(parts.local, first.id, tmp_path)
        (disk / "others").unlink()
        assert take(parts).is_new
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_damaged_source_is_not_stored_and_what_was_stored_stays(state: Path, backups: Path, tmp_path: Path) -> None:
    parts = parts_for(state, backups)
    good = take(parts).manifest
    data = bytearray(state.read_bytes())
    for page in range(20, len(data) // 4096):  # the middle of every page from the twentieth on
        data[page * 4096 + 8 : page * 4096 + 200] = b"\xff" * 192
    state.write_bytes(bytes(data))
    with pytest.raises(BackupFailed) as failed:
        take(parts)
    assert failed.value.cause == "source_damaged"
    assert parts.local.ids() == [good.id]
    assert messages_of(parts.local, good.id, tmp_path)


def test_rows_that_refer_to_nothing_are_damage(state: Path, backups: Path) -> None:
    with closing(sqlite3.connect(state, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("DELETE FROM threads WHERE id = 'thread_000001'")
    with pytest.raises(BackupFailed, match="refers to no threads"):
        take(parts_for(state, backups))


def test_what_a_killed_writer_left_is_no_file_of_the_store(state: Path, backups: Path) -> None:
    parts = parts_for(state, backups)
    take(parts)
    left = backups / OBJECTS / "00" / ("0" * 64 + ".part")
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    assert left.name not in {name.rpartition("/")[2] for name, _ in parts.local.place.names(OBJECTS)}
    parts.local.place.sweep()  # type: ignore[attr-defined]  # a folder's own
    assert not left.exists()
