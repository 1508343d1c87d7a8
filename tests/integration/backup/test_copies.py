"""Copies: each brought up, verified, pruned and alarmed by itself; pruning never takes the last good one."""

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ops.backup.archive import OBJECTS, SNAPSHOTS, Archive, path_of
from ops.backup.copy_keeper import CopyKeeper
from ops.backup.copying import Copier
from ops.backup.failures import BackupFailed
from ops.backup.listing import listed
from ops.backup.manifest import encode, id_at
from ops.backup.metrics import Metrics
from ops.backup.opening import Parts
from ops.backup.places import Folder
from ops.backup.planning import choose
from ops.backup.pruning import prune
from ops.backup.retention import Retention
from tests.fixtures.backups import change, flip, make_state, messages_in, messages_of, ops, parts_for, snapshotter, take

DAY_S = 86_400.0


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a database with some conversations."""
    path = tmp_path / "data" / "sovereign_assistant.db"
    make_state(path, threads=4)
    return path


@pytest.fixture
def parts(state: Path, tmp_path: Path) -> Parts:
    """Give parts with a second directory."""
    return parts_for(state, tmp_path / "backups", BACKUP_COPY_DIR=str(tmp_path / "copy"))


class Faulty:
    """A place that does what another does until it is told not to."""

    def __init__(self, place: Folder) -> None:
        self.label = place.label
        self._place = place
        self.away = False
        self.flips = False

    def _asked(self) -> None:
        if self.away:
            raise BackupFailed("copy_unreachable", "nobody answers")

    def get(self, name: str) -> bytes:
        self._asked()
        return self._place.get(name)

    def put(self, name: str, data: bytes) -> None:
        self._asked()
        self._place.put(name, bytes([data[0] ^ 1]) + data[1:] if self.flips else data)

    def settle(self) -> None:
        self._place.settle()

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        self._asked()
        return self._place.names(prefix)

    def delete(self, names: Iterable[str]) -> None:
        self._asked()
        self._place.delete(names)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"sovereign_backup_{name}", labels)


def test_a_copy_has_every_snapshot_and_is_restored_without_the_store_here(
    state: Path, parts: Parts, tmp_path: Path
) -> None:
    taker = snapshotter(parts)
    for number in range(3):
        change(state, f"thread_new{number}")
        taker.take()
    [copy] = parts.copies
    assert Copier(parts.local, copy).bring() == 3
    assert copy.ids() == parts.local.ids()
    (tmp_path / "backups").rename(tmp_path / "burnt")
    assert messages_of(copy, copy.ids()[-1], tmp_path) == messages_in(state)
    env = {"BACKUP_DIR": str(tmp_path / "empty"), "BACKUP_COPY_DIR": str(tmp_path / "copy")}
    done = ops("restore", "--yes", env=env | {"DATABASE_URL": f"sqlite:///{tmp_path}/new/sovereign_assistant.db"})
    assert done.returncode == 0, done.stderr
    assert messages_in(tmp_path / "new" / "sovereign_assistant.db") == messages_in(state)


def test_only_what_a_copy_lacks_is_sent_to_it(state: Path, parts: Parts) -> None:
    taker = snapshotter(parts)
    taker.take()
    [copy] = parts.copies
    copier = Copier(parts.local, copy)
    copier.bring()
    times = {name: (parts_path(copy) / name).stat().st_mtime_ns for name, _ in copy.place.names("")}
    change(state, "thread_new")
    taker.take()
    Copier(parts.local, copy).bring()
    assert {name: (parts_path(copy) / name).stat().st_mtime_ns for name in times} == times


def parts_path(archive: Archive) -> Path:
    assert isinstance(archive.place, Folder)
    return archive.place.root


def test_a_copy_that_is_away_is_counted_said_and_brought_up_later_and_holds_up_nothing(
    state: Path, parts: Parts, tmp_path: Path
) -> None:
    faulty = Faulty(Folder(tmp_path / "copy", "directory"))
    there = Archive(faulty, parts.local.sealer)
    metrics = Metrics()
    keeper = CopyKeeper(parts, there, metrics)
    take(parts)
    faulty.away = True
    keeper.turn()
    assert value(metrics, "failures_total", cause="copy_unreachable") == 1
    assert value(metrics, "copy_last_success_timestamp_seconds", copy="directory") == 0
    assert not parts.notes.read().copies["directory"].ok
    change(state, "thread_new")
    assert take(parts).is_new, "snapshots go on"
    faulty.away = False
    keeper.turn()
    assert value(metrics, "copy_behind", copy="directory") == 0
    assert there.ids() == parts.local.ids()
    assert parts.notes.read().copies["directory"].ok


def test_a_copy_that_keeps_something_else_than_it_was_sent_does_not_count(parts: Parts, tmp_path: Path) -> None:
    faulty = Faulty(Folder(tmp_path / "copy", "directory"))
    faulty.flips = True
    metrics = Metrics()
    take(parts)
    keeper = CopyKeeper(parts, Archive(faulty, parts.local.sealer), metrics)
    keeper.turn()
    assert value(metrics, "failures_total", cause="damaged") == 1
    assert value(metrics, "copy_behind", copy="directory") == 1
    assert Archive(Folder(tmp_path / "copy"), parts.local.sealer).ids() == []


def test_a_new_store_beside_an_old_copy_takes_nothing_from_it(state: Path, parts: Parts, tmp_path: Path) -> None:
    take(parts)
    [copy] = parts.copies
    Copier(parts.local, copy).bring()
    old = copy.ids()
    fresh = parts_for(state, tmp_path / "fresh", BACKUP_COPY_DIR=str(tmp_path / "copy"))
    change(state, "thread_new")
    take(fresh)
    keeper = CopyKeeper(fresh, copy, Metrics(), clock=lambda: time.time())
    keeper._pruned_at = 0.0
    keeper.turn()
    assert set(old) < set(copy.ids())
    for name in copy.ids():
        assert messages_of(copy, name, tmp_path)


def test_copies_are_listed_with_what_they_have(parts: Parts, tmp_path: Path) -> None:
    take(parts)
    [row], states = listed(parts)
    assert row["copies"] == []
    assert states == {"directory": "reachable, 1 snapshot behind"}
    [copy] = parts.copies
    Copier(parts.local, copy).bring()
    [row], states = listed(parts)
    assert row["copies"] == ["directory"]
    (tmp_path / "backups").rename(tmp_path / "burnt")
    [row], _ = listed(parts)
    assert row["state"] == "only in a copy"


def aged(parts: Parts, name: str, days: float) -> str:
    """Give a snapshot another age; return its new id."""
    manifest = parts.local.manifest(name)
    moment = time.time() - days * DAY_S
    fields = {one: getattr(manifest, one) for one in manifest.__struct_fields__}
    older = type(manifest)(**fields | {"id": id_at(moment), "taken_at": moment})
    parts.local.place.put(f"{SNAPSHOTS}{older.id}.json", encode(older))
    parts.local.place.delete([f"{SNAPSHOTS}{name}.json"])
    return older.id


def test_pruning_removes_the_snapshots_that_are_covered_and_the_files_that_only_they_named(
    state: Path, parts: Parts, tmp_path: Path
) -> None:
    taker = snapshotter(parts)
    for number, days in enumerate((700, 600, 40.2, 40.1, 0)):
        change(state, f"thread_new{number}")
        taken = taker.take()
        assert taken is not None
        if days:
            aged(parts, taken.manifest.id, days)
    before = len(list(parts.local.place.names(OBJECTS)))
    pruned = prune(parts.local, frozenset(), time.time(), Retention())
    assert len(pruned.snapshots) in (3, 2)  # two of 40 days may be of two months
    assert pruned.files > 0
    assert len(list(parts.local.place.names(OBJECTS))) == before - pruned.files
    for name in parts.local.ids():
        assert messages_of(parts.local, name, tmp_path)


def test_the_last_good_snapshot_is_kept_however_old_it_is(state: Path, parts: Parts, tmp_path: Path) -> None:
    old = aged(parts, take(parts).manifest.id, 900)
    change(state, "thread_new")
    bad = take(parts).manifest.id
    pruned = prune(parts.local, frozenset({bad}), time.time(), Retention(1, 1, 1, 1))
    assert pruned.snapshots == []
    assert messages_of(parts.local, old, tmp_path)


def test_while_a_manifest_cannot_be_read_no_file_is_removed(state: Path, parts: Parts) -> None:
    first = take(parts).manifest.id
    change(state, "thread_new")
    take(parts)
    aged_one = aged(parts, first, 900)
    path = parts_path(parts.local) / SNAPSHOTS / f"{id_at(time.time() - 5)}.json"
    path.write_text(json.dumps({"id": "nonsense"}))
    pruned = prune(parts.local, frozenset(), time.time(), Retention())
    assert pruned.snapshots == [aged_one]
    assert pruned.files == 0


def test_a_copy_takes_no_snapshot_that_it_would_prune_again(state: Path, parts: Parts) -> None:
    taker = snapshotter(parts)
    for number, days in enumerate((40.2, 40.1, 2.0001, 2, 0)):
        change(state, f"thread_new{number}")
        taken = taker.take()
        assert taken is not None
        if days:
            aged(parts, taken.manifest.id, days)
    [copy] = parts.copies
    metrics = Metrics()
    keeper = CopyKeeper(parts, copy, metrics)
    keeper.turn()
    had = copy.ids()
    keeper._pruned_at = 0.0
    keeper.turn()
    assert copy.ids() == had, "nothing of what was just brought is pruned"
    keeper.turn()
    assert copy.ids() == had, "nothing of what the copy pruned comes again while it is still here"
    assert len(had) < len(parts.local.ids())
    assert value(metrics, "copy_behind", copy="directory") == 0
    [states] = listed(parts)[1].values()
    assert states == "reachable, 0 snapshots behind"


def test_a_snapshot_that_is_damaged_here_keeps_no_other_from_a_copy(state: Path, parts: Parts, tmp_path: Path) -> None:
    first = take(parts).manifest
    change(state, "thread_new")
    second = take(parts).manifest
    only_its_own = set(second.lists) - set(first.lists)
    flip(tmp_path / "backups" / path_of(only_its_own.pop()))
    [copy] = parts.copies
    metrics = Metrics()
    keeper = CopyKeeper(parts, copy, metrics)
    keeper.turn()
    assert copy.ids() == [first.id]
    assert value(metrics, "failures_total", cause="damaged") == 1
    parts.notes.note_damage(frozenset({second.id}))
    keeper.turn()
    assert value(metrics, "failures_total", cause="damaged") == 1, "what is known has an alert of its own"
    assert value(metrics, "copy_behind", copy="directory") == 0


def test_a_copy_that_does_not_answer_falls_behind(state: Path, parts: Parts, tmp_path: Path) -> None:
    faulty = Faulty(Folder(tmp_path / "copy", "directory"))
    metrics = Metrics()
    keeper = CopyKeeper(parts, Archive(faulty, parts.local.sealer), metrics)
    take(parts)
    keeper.turn()
    assert value(metrics, "copy_behind", copy="directory") == 0
    faulty.away = True
    for number in range(3):
        change(state, f"thread_new{number}")
        take(parts)
        keeper.turn()
        assert value(metrics, "copy_behind", copy="directory") == number + 1


def test_how_far_a_copy_is_behind_is_told_while_it_is_brought_up(state: Path, parts: Parts) -> None:
    taker = snapshotter(parts)
    for number in range(3):
        change(state, f"thread_new{number}")
        taker.take()
    metrics = Metrics()
    told: list[float | None] = []
    seen = lambda step: told.append(value(metrics, "copy_behind", copy="directory"))  # noqa: E731 - one expression
    CopyKeeper(parts, parts.copies[0], metrics, reached=seen).turn()
    assert told[0] == 3
    assert value(metrics, "copy_behind", copy="directory") == 0


def test_a_folder_for_copies_whose_disk_is_away_is_not_made_on_another(parts: Parts, tmp_path: Path) -> None:
    take(parts)
    (tmp_path / "copy").rmdir()
    metrics = Metrics()
    CopyKeeper(parts, parts.copies[0], metrics).turn()
    assert value(metrics, "failures_total", cause="copy_unreachable") == 1
    assert not (tmp_path / "copy").exists()
    words = f"there is no folder {tmp_path}/copy: is its disk mounted?"
    assert parts.notes.read().copies["directory"].words == words
    assert listed(parts)[1] == {"directory": f"not reachable: {words}"}


@pytest.fixture
def shared() -> Iterator[Parts]:
    """Give parts with a snapshot, in a folder that every user may enter."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        make_state(folder / "data" / "sovereign_assistant.db", threads=1)
        made = parts_for(
            folder / "data" / "sovereign_assistant.db", folder / "backups", BACKUP_COPY_DIR=str(folder / "copy")
        )
        take(made)
        yield made


@contextmanager
def another_user() -> Iterator[None]:
    """Be the user of the appliance's containers for a block."""
    os.seteuid(10001)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
def test_a_folder_for_copies_that_cannot_be_written_is_named_with_the_user_who_cannot(shared: Parts) -> None:
    metrics = Metrics()
    for path in [shared.settings.path, *shared.settings.path.rglob("*")]:
        os.chown(path, 10001, 10001)
    with another_user():
        CopyKeeper(shared, shared.copies[0], metrics).turn()
        told = listed(shared)[1]["directory"]
    assert value(metrics, "failures_total", cause="copy_unreachable") == 1
    assert value(metrics, "copy_behind", copy="directory") == 1
    assert "Permission denied for user 10001" in told
    assert told.startswith("reachable, 1 snapshot behind; what was tried last failed: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
def test_a_store_that_cannot_be_read_is_not_taken_for_an_empty_one(shared: Parts) -> None:
    with another_user():
        with pytest.raises(BackupFailed, match="Permission denied for user 10001"):
            shared.local.ids()
        with pytest.raises(BackupFailed, match=r"no snapshot in .*; local: .*Permission denied"):
            choose(shared, None, None)


def test_what_is_only_in_a_copy_is_listed_with_what_it_holds(parts: Parts, tmp_path: Path) -> None:
    manifest = take(parts).manifest
    Copier(parts.local, parts.copies[0]).bring()
    (tmp_path / "backups").rename(tmp_path / "burnt")
    [row], _ = listed(parts)
    assert row["state"] == "only in a copy"
    assert (row["messages"], row["size_bytes"]) == (manifest.rows["messages"], manifest.size_bytes)


def test_a_restore_names_the_copy_that_it_could_not_ask(state: Path, parts: Parts, tmp_path: Path) -> None:
    take(parts)
    (tmp_path / "copy").rmdir()
    env = {
        "DATABASE_URL": f"sqlite:///{state}",
        "BACKUP_DIR": f"{tmp_path}/backups",
        "BACKUP_COPY_DIR": f"{tmp_path}/copy",
    }
    done = ops("restore", "--dry-run", env=env)
    assert done.returncode == 0, done.stderr
    assert f"NOT ASKED directory, which may have newer ones: there is no folder {tmp_path}/copy" in done.stdout
