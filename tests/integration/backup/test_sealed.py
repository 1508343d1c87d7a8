"""Snapshots that are encrypted: nothing readable is stored, and the plain `age` program alone brings them back."""

import hashlib
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyrage
import pytest

from ops.backup.failures import BackupFailed
from ops.backup.metrics import Metrics
from ops.backup.planning import choose
from ops.backup.record import Notes
from ops.backup.sidecar import Sidecar
from tests.fixtures.backups import change, make_state, messages_in, ops, parts_for, take
from tests.fixtures.documents import blocks, filled


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a database with some conversations."""
    path = tmp_path / "data" / "sovereign_assistant.db"
    make_state(path, threads=4)
    return path


@pytest.fixture
def identity() -> pyrage.x25519.Identity:
    """Give a key pair of age's."""
    return pyrage.x25519.Identity.generate()


def test_a_sealed_snapshot_is_brought_back_by_the_age_program_alone(
    state: Path, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    for program in ("age", "zstd"):
        assert shutil.which(program), f"`{program}` is not installed: apt-get install age zstd"
    parts = parts_for(state, tmp_path / "backups", BACKUP_RECIPIENTS=str(identity.to_public()))
    manifest = take(parts).manifest
    key, restored = tmp_path / "key.txt", tmp_path / "backups/sovereign_assistant.db"
    key.write_text(f"{identity}\n")
    [by_hand] = blocks("docs/recover.md", "With `age` and `zstd` alone")
    places = {"/path/to/backups": f"{tmp_path}/backups", "20261122T090000.000Z": manifest.id, "key.txt": str(key)}
    done = subprocess.run(["bash", "-c", filled(by_hand, places)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(restored.read_bytes()).hexdigest() == manifest.sha256
    assert messages_in(restored) == messages_in(state)


def test_nothing_that_was_said_can_be_read_in_a_sealed_store(
    state: Path, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    change(state, "thread_secret")
    parts = parts_for(state, tmp_path / "backups", BACKUP_RECIPIENTS=str(identity.to_public()))
    take(parts)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "backups").rglob("*") if path.is_file())
    assert b"thread_secret" not in stored
    assert str(identity).encode() not in stored
    assert stored.count(b"age-encryption.org/v1") > 1


def test_a_sealed_snapshot_is_not_restored_without_its_key_and_nothing_is_touched(
    state: Path, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    take(parts_for(state, tmp_path / "backups", BACKUP_RECIPIENTS=str(identity.to_public())))
    before = sorted(path.name for path in state.parent.iterdir())
    env = {"DATABASE_URL": f"sqlite:///{state}", "BACKUP_DIR": str(tmp_path / "backups")}
    failed = ops("restore", "--yes", env=env)
    assert failed.returncode == 1
    assert "BACKUP_IDENTITY_FILE" in failed.stderr
    assert sorted(path.name for path in state.parent.iterdir()) == before
    (tmp_path / "key.txt").write_text(f"# a comment\n{identity}\n")
    done = ops("restore", "--yes", env=env | {"BACKUP_IDENTITY_FILE": str(tmp_path / "key.txt")})
    assert done.returncode == 0, done.stderr


def test_another_key_does_not_open_it(state: Path, tmp_path: Path, identity: pyrage.x25519.Identity) -> None:
    take(parts_for(state, tmp_path / "backups", BACKUP_RECIPIENTS=str(identity.to_public())))
    other = parts_for(state, tmp_path / "backups", BACKUP_IDENTITY=str(pyrage.x25519.Identity.generate()))
    with pytest.raises(BackupFailed, match="the one in BACKUP_IDENTITY_FILE does not open it") as failed:
        choose(other, None, None)
    assert failed.value.cause == "no_key"


def test_what_was_stored_open_is_stored_anew_once_there_are_recipients(
    state: Path, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    open_one = take(parts_for(state, tmp_path / "backups")).manifest
    sealed = take(parts_for(state, tmp_path / "backups", BACKUP_RECIPIENTS=str(identity.to_public())))
    assert sealed.is_new
    archive = parts_for(state, tmp_path / "backups").local
    plain = {chunk.stored for chunks in archive.lists(open_one) for chunk in chunks}
    assert not plain & {chunk.stored for chunks in archive.lists(sealed.manifest) for chunk in chunks}
    again = take(parts_for(state, tmp_path / "backups", BACKUP_RECIPIENTS=str(identity.to_public())))
    assert not again.is_new, "a new process takes up what is sealed for the same recipients"


def test_the_drill_of_a_sealed_store_needs_no_key(
    state: Path, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    parts = parts_for(state, tmp_path / "backups", BACKUP_RECIPIENTS=str(identity.to_public()))
    metrics = Metrics()
    with ThreadPoolExecutor(1) as drills:
        Sidecar(parts, metrics, 60).tick(drills)
    [made] = Notes(tmp_path / "backups").read().drills.values()
    assert made.ok, made.words
    assert "sealed files whole" in made.words
    assert "messages of thread_" in made.words
    assert metrics.registry.get_sample_value("sovereign_backup_drill_ok") == 1
    assert not list((tmp_path / "backups" / "scratch").rglob("*.db")), "no plain copy is left"


def test_the_list_of_snapshots_says_which_are_sealed(
    state: Path, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    take(parts_for(state, tmp_path / "backups", BACKUP_RECIPIENTS=str(identity.to_public())))
    env = {"DATABASE_URL": f"sqlite:///{state}", "BACKUP_DIR": str(tmp_path / "backups")}
    told = json.loads(ops("backups", "--json", env=env).stdout)
    assert [one["encrypted"] for one in told["snapshots"]] == [True]
