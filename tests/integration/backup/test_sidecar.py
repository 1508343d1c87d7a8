"""The sidecar by itself: what it does at each look, and what it tells of it."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ops.backup.archive import OBJECTS, SNAPSHOTS
from ops.backup.metrics import Metrics, answering
from ops.backup.opening import Parts
from ops.backup.record import Drill
from ops.backup.sidecar import Sidecar
from tests.fixtures.backups import change, flip, make_state, parts_for, take
from tests.fixtures.processes import ROOT, free_port, wait_for

NEVER = Drill(time.time() + 3600, True, "not due for long")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a database with some conversations."""
    path = tmp_path / "data" / "sovereign_assistant.db"
    make_state(path, threads=4)
    return path


@pytest.fixture
def parts(state: Path, tmp_path: Path) -> Parts:
    """Give parts whose drill is not due."""
    made = parts_for(state, tmp_path / "backups")
    made.settings.path.mkdir()
    made.notes.note_drill("20010101T000000.000Z", NEVER, frozenset())
    return made


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"sovereign_backup_{name}", labels)


def test_seconds_at_risk_grow_from_the_last_snapshot_that_had_everything(state: Path, parts: Parts) -> None:
    clock, metrics = Clock(), Metrics()
    sidecar = Sidecar(parts, metrics, 60, clock)
    with ThreadPoolExecutor(1) as drills:
        sidecar.tick(drills)
        clock.now += 500
        sidecar.refresh()
        assert value(metrics, "at_risk_seconds") == 0
        change(state, "thread_new")
        sidecar.refresh()
        assert value(metrics, "at_risk_seconds") == 500
        sidecar.tick(drills)
        sidecar.refresh()
        assert value(metrics, "at_risk_seconds") == 0
        assert value(metrics, "last_success_timestamp_seconds") == clock.now
    assert value(metrics, "snapshots") == 2


def test_a_look_at_a_source_that_did_not_change_reads_nothing_of_it(
    state: Path, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[str] = []
    sidecar = Sidecar(parts, Metrics(), 60, reached=steps.append)
    with ThreadPoolExecutor(1) as drills:
        sidecar.tick(drills)
        assert steps
        steps.clear()
        sidecar.tick(drills)
        assert steps == []
        with closing(sqlite3.connect(state, isolation_level=None)) as connection:
            connection.execute("UPDATE threads SET last_position = last_position WHERE id = 'none'")
        change(state, "thread_new")
        sidecar.tick(drills)
        assert "counted" in steps


def test_what_goes_wrong_is_counted_by_its_cause_and_at_risk_goes_on_growing(state: Path, parts: Parts) -> None:
    clock, metrics = Clock(), Metrics()
    sidecar = Sidecar(parts, metrics, 60, clock)
    with ThreadPoolExecutor(1) as drills:
        sidecar.tick(drills)
        [good] = parts.local.ids()
        whole = state.read_bytes()
        for page in range(10, len(whole) // 4096):
            flip(state, page * 4096 + 20)
            flip(state, page * 4096 + 1)
        clock.now += 60
        sidecar.tick(drills)
        assert value(metrics, "failures_total", cause="source_damaged") == 1
        state.rename(state.with_name("away"))
        clock.now += 60
        sidecar.tick(drills)
        assert value(metrics, "failures_total", cause="source_missing") == 1
        sidecar.refresh()
        assert value(metrics, "at_risk_seconds") == 120
        state.write_bytes(whole)
        sidecar.tick(drills)
        sidecar.refresh()
        assert value(metrics, "at_risk_seconds") == 0
    assert parts.local.ids() == [good], "the state is the one of before"


def test_a_drill_is_due_once_a_day_and_sooner_after_one_that_failed(state: Path, tmp_path: Path) -> None:
    parts, clock, metrics = parts_for(state, tmp_path / "backups"), Clock(), Metrics()
    sidecar = Sidecar(parts, metrics, 60, clock)
    with ThreadPoolExecutor(1) as drills:
        sidecar.tick(drills)
    [made] = parts.notes.read().drills.values()
    assert made.ok, made.words
    assert "messages of thread_" in made.words
    assert value(metrics, "drill_ok") == 1
    assert not sidecar._drill_is_due(clock.now + 3600)
    assert sidecar._drill_is_due(clock.now + 86_400)
    manifest = parts.local.manifest(parts.local.ids()[0])
    name = next(parts.local.lists(manifest))[0].stored
    flip(tmp_path / "backups" / "objects" / name[:2] / name)
    clock.now += 86_400
    with ThreadPoolExecutor(1) as drills:
        sidecar.tick(drills)
    assert value(metrics, "drill_ok") == 0
    assert value(metrics, "failures_total", cause="damaged") >= 1
    assert sidecar._drill_is_due(clock.now + 900)


STARTER = """
import os, subprocess, sys, time
from ops.backup.drill import SERVE
print(subprocess.Popen([sys.executable, "-c", SERVE], env=os.environ).pid, flush=True)
time.sleep(600)
"""


def test_the_api_of_a_drill_ends_with_a_sidecar_that_is_killed(state: Path, tmp_path: Path) -> None:
    port = free_port()
    env = {"DATABASE_URL": f"sqlite:///{state}", "READ_ONLY": "true", "API_PORT": str(port), "API_KEY": "sk-drill"}
    command = [sys.executable, "-c", STARTER]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | env, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        api = Path(f"/proc/{int(starter.stdout.readline())}")
        wait_for(f"http://127.0.0.1:{port}/health/live", starter)
        assert api.exists()
        starter.kill()
    deadline = time.monotonic() + 30
    while api.exists() and "Z" not in (api / "stat").read_text().split():
        assert time.monotonic() < deadline, "it goes on alone"
        time.sleep(0.05)


def test_a_new_sidecar_knows_the_last_drill(state: Path, parts: Parts) -> None:
    parts.notes.note_drill("20010101T000000.001Z", Drill(1234.0, False, "no"), frozenset())
    metrics = Metrics()
    Sidecar(parts, metrics, 60).remember()
    assert value(metrics, "last_drill_timestamp_seconds") == 1234
    assert value(metrics, "drill_ok") == 0


def test_a_new_sidecar_has_been_at_risk_since_the_newest_snapshot(state: Path, parts: Parts) -> None:
    manifest, metrics, clock = take(parts).manifest, Metrics(), Clock()
    clock.now = manifest.taken_at + 500
    change(state, "thread_new")
    sidecar = Sidecar(parts, metrics, 60, clock)
    sidecar.remember()
    sidecar.refresh()
    assert value(metrics, "at_risk_seconds") == 500
    assert value(metrics, "last_verified_timestamp_seconds") == manifest.taken_at
    assert value(metrics, "snapshots") == 1


def test_the_size_of_the_store_is_told_after_each_snapshot_and_each_pruning(state: Path, parts: Parts) -> None:
    clock, metrics = Clock(), Metrics()
    sidecar = Sidecar(parts, metrics, 60, clock)
    with ThreadPoolExecutor(1) as drills:
        sidecar.tick(drills)
        for number in range(3):
            change(state, f"thread_new{number}")
            clock.now += 60
            sidecar.tick(drills)
            manifests = [size for _, size in sorted(parts.local.place.names(SNAPSHOTS))[1:]]
            assert value(metrics, "store_bytes") == stored(parts) - sum(manifests), "those since the last pruning"
        clock.now += 3600
        sidecar.tick(drills)
    assert value(metrics, "store_bytes") == stored(parts)


def stored(parts: Parts) -> int:
    """Return the size of everything that snapshots are made of."""
    return sum(size for folder in (OBJECTS, SNAPSHOTS) for _, size in parts.local.place.names(folder))


def test_a_restore_gets_its_turn_between_two_looks_however_short_the_interval(state: Path, parts: Parts) -> None:
    begun = threading.Semaphore(0)

    def slow_disk(step: str) -> None:
        if step == "copied":
            change(state, f"thread_{time.monotonic_ns()}")  # so that there is always more to do
            begun.release()
            time.sleep(0.3)

    sidecar = Sidecar(parts, Metrics(), 0.01, reached=slow_disk)
    at_work = threading.Thread(target=sidecar.run)
    at_work.start()
    try:
        for _ in range(3):
            while begun.acquire(blocking=False):
                pass
            assert begun.acquire(timeout=20)
            with parts.notes.locked(shared=True):
                assert not begun.acquire(blocking=False), "no snapshot was begun while it waited for its turn"
    finally:
        sidecar.stop()
        at_work.join()


def test_who_waits_for_the_lock_says_so(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    def let_go_once_that_was_said() -> None:
        while "waiting" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        held.close()

    deadline = time.monotonic() + 20
    held = ExitStack()
    held.enter_context(parts.notes.locked())
    other = threading.Thread(target=let_go_once_that_was_said)
    other.start()
    with parts.notes.locked():
        other.join()
    assert "for what another backup or restore does" in caplog.text


def test_a_store_that_is_away_silences_no_metric(state: Path, parts: Parts, tmp_path: Path) -> None:
    sidecar = Sidecar(parts, Metrics(), 60)
    (tmp_path / "backups").rename(tmp_path / "away")
    sidecar.refresh()


def test_pruning_by_the_sidecar_keeps_to_the_settings(state: Path, tmp_path: Path) -> None:
    parts = parts_for(state, tmp_path / "backups", BACKUP_KEEP_ALL_H="1", BACKUP_KEEP_HOURLY_D="1")
    assert parts.retention[:2] == (1, 1)
    assert parts_for(state, tmp_path / "backups").retention == (24, 7, 30, 12)


def test_metrics_and_health_are_answered_on_a_port_and_nothing_else() -> None:
    asked: list[str] = []
    with answering("127.0.0.1", free_port(), Metrics().registry, lambda: asked.append("now")) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/snapshots", timeout=5)
    assert asked == ["now"]
    assert 'sovereign_backup_failures_total{cause="disk_full"} 0.0' in text


def test_two_that_write_into_a_store_take_turns(parts: Parts) -> None:
    with (
        parts.notes.locked(),
        pytest.raises(Exception, match="in use by another backup"),
        parts.notes.locked(wait=False),
    ):
        pass
    with parts.notes.locked(shared=True), parts.notes.locked(shared=True):
        pass
    assert take(parts).is_new


def test_every_metric_is_in_the_document() -> None:
    text = (Path(__file__).parents[3] / "docs" / "backup.md").read_text()
    names = {family.name.removeprefix("sovereign_backup_") for family in Metrics().registry.collect()}
    assert {name for name in names if f"`{name}" not in text and f"`{name}_total" not in text} == set()
