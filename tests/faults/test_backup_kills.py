"""`kill -9` at every step of a snapshot, a copy and a restore, and at random instants of them, under a writer.

After each: the state is a consistent one, every snapshot that counted is whole, and what was acknowledged before a
snapshot is in it.
"""

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from ops.backup.archive import Archive
from ops.backup.copying import Copier
from ops.backup.fetch import fetch, prove
from ops.backup.opening import Parts
from ops.backup.planning import choose
from ops.backup.pruning import prune
from ops.backup.restoring import Restoring
from ops.backup.retention import Retention
from ops.backup.switching import NoServer, carry_on
from tests.fixtures.backups import (
    Writer,
    change,
    make_state,
    messages_in,
    messages_of,
    parts_for,
    snapshotter,
    writing,
)

SEED = int(os.environ.get("FAULTS_SEED", "20260101"))
KILLS = int(os.environ.get("FAULTS_KILLS", "104"))  # of snapshots, and as many of restores; those that missed apart
SNAPSHOTS = int(os.environ.get("FAULTS_SNAPSHOTS", "500"))
TAKING = ("copied", "checked", "list", "stored", "counted", "files", "manifest")
RESTORING = ("list", "proven", "migrated", "staged", "swapping", "kept", "left-overs", "renamed", "swapped")
LATEST_S = 0.2


def suicide_at(step: str) -> Callable[[str], None]:
    """Return what kills this process at a step."""

    def reached(now: str) -> None:
        if now == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def killed(work: Callable[[], None], after_s: float | None = None) -> bool:
    """Do work in a child process; kill it after a while. Tell whether a kill ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the work failed by itself"
    return os.WIFSIGNALED(status)


def work_of_a_sidecar(parts: Parts, reached: Callable[[str], None]) -> None:
    """Take a snapshot, bring the copy up, prune."""
    with parts.notes.locked():
        taker = snapshotter(parts)
        taker.take(reached)
        prune(parts.local, frozenset(), time.time(), Retention())
    taker_copy = Copier(parts.local, parts.copies[0])
    taker_copy.bring(reached=reached)


def whole(archive: Archive, acknowledged: dict[str, set[str]], folder: Path) -> None:
    """Restore every snapshot of an archive and compare it with what was acknowledged before it."""
    names = archive.ids()
    assert set(acknowledged) <= set(names) or archive.place.label != "local", "a snapshot that counted is lost"
    for name in names:
        target = folder / "check.db"
        fetch(archive, archive.manifest(name), target)
        prove(target, archive.manifest(name))
        with closing(sqlite3.connect(f"file:{target}?mode=ro&immutable=1", uri=True)) as connection:
            found = {one for (one,) in connection.execute("SELECT id FROM messages")}
        assert acknowledged.get(name, set()) <= found
        target.unlink()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a database with some conversations."""
    path = tmp_path / "data" / "sovereign_assistant.db"
    make_state(path, threads=30)
    return path


def one_kill(parts: Parts, number: int, source: random.Random) -> bool:
    """Kill a snapshot at a step, each in turn, or at a random instant."""
    if number % 2:
        return killed(partial(work_of_a_sidecar, parts, suicide_at(TAKING[number // 2 % len(TAKING)])))
    return killed(partial(work_of_a_sidecar, parts, lambda step: None), source.uniform(0, LATEST_S))


def test_no_kill_of_a_sidecar_loses_a_snapshot_or_lets_half_a_one_count(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = parts_for(state, tmp_path / "backups", BACKUP_COPY_DIR=str(tmp_path / "copy"))
    source, counts = random.Random(SEED), Counter[str]()
    acknowledged: dict[str, set[str]] = {}
    with writing(state, per_second=100) as writer:
        for number in range(3 * KILLS):
            if counts["killed"] == KILLS:
                break
            before = writer.read_all(waiting=2)
            counts["killed"] += one_kill(parts, number, source)
            for name in set(parts.local.ids()) - set(acknowledged):
                acknowledged[name] = before
            if number % 13 == 12:
                whole(parts.local, acknowledged, tmp_path)
                whole(parts.copies[0], acknowledged, tmp_path)
    work_of_a_sidecar(parts, lambda step: None)
    whole(parts.local, acknowledged, tmp_path)
    whole(parts.copies[0], acknowledged, tmp_path)
    assert parts.copies[0].ids() == parts.local.ids()
    with capsys.disabled():
        print(f"\nsidecar: {counts['killed']} kills, {len(parts.local.ids())} snapshots, seed {SEED}")
    assert counts["killed"] == KILLS


def restore(parts: Parts, reached: Callable[[str], None]) -> None:
    """Restore the newest snapshot, or go on with a restore that was cut off."""
    files = Restoring(parts.source, reached)
    if files.progress() is None:
        found = choose(parts, None, None)
        files.stage(found.archive, found.manifest)
    carry_on(files, NoServer(), lambda words: None)


def test_no_kill_of_a_restore_leaves_anything_but_the_old_state_or_the_snapshot(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = parts_for(state, tmp_path / "backups")
    source, counts = random.Random(SEED), Counter[str]()
    snapshotter(parts).take()
    restored = messages_of(parts.local, parts.local.ids()[-1], tmp_path)
    for number in range(3 * KILLS):
        if counts["killed"] == KILLS:
            break
        with writing(state, per_second=1000) as writer:
            writer.read_all(waiting=3)
            present = died(writer, state)
        if number % 2:
            step = RESTORING[number // 2 % len(RESTORING)]
            counts["killed"] += killed(partial(restore, parts, suicide_at(step)))
        else:
            counts["killed"] += killed(partial(restore, parts, lambda step: None), source.uniform(0, LATEST_S))
        found = messages_in(state)
        assert found in (present, restored), f"kill {number + 1}: neither the old state nor the snapshot"
        restore(parts, lambda step: None)
        assert messages_in(state) == restored
        kept = sorted(state.parent.glob(f"{state.name}.before-*Z"))
        assert any(messages_in(path) == present for path in kept), "the state of before is kept"
        for path in kept:
            path.unlink()
    with capsys.disabled():
        print(f"\nrestore: {counts['killed']} kills, seed {SEED}")
    assert counts["killed"] == KILLS


def died(writer: Writer, state: Path) -> set[str]:
    """Kill the writer, so that some of the state is in the log alone; return the messages that there are."""
    writer.kill()
    return messages_in(state)


def test_every_message_that_was_acknowledged_before_a_snapshot_is_in_it(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = parts_for(state, tmp_path / "backups")
    taker = snapshotter(parts)
    stalls = []
    before: set[str] = set()
    with writing(state) as writer:
        for _ in range(SNAPSHOTS):
            before = writer.read_all(waiting=3)
            taken = taker.take()
            assert taken is not None
            assert taken.is_new
            stalls.append(taken.manifest.stall_s)
            found = messages_of(parts.local, taken.manifest.id, tmp_path)
            assert before <= found, sorted(before - found)[:5]
    assert len(parts.local.ids()) == SNAPSHOTS
    with capsys.disabled():
        print(
            f"\n{SNAPSHOTS} snapshots, each restored, {len(before)} messages, "
            f"longest transaction of the writer meanwhile {max(stalls) * 1000:.0f} ms"
        )


def test_a_change_beside_a_kill_is_in_the_next_snapshot(state: Path, tmp_path: Path) -> None:
    parts = parts_for(state, tmp_path / "backups", BACKUP_COPY_DIR=str(tmp_path / "copy"))
    for number, step in enumerate(TAKING):
        change(state, f"thread_new{number}")
        killed(partial(work_of_a_sidecar, parts, suicide_at(step)))
        work_of_a_sidecar(parts, lambda now: None)
        newest = parts.local.ids()[-1]
        assert f"msg_thread_new{number}_1" in messages_of(parts.local, newest, tmp_path)
        assert f"msg_thread_new{number}_1" in messages_of(parts.copies[0], newest, tmp_path)
