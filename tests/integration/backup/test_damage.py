"""Bits that were turned over are found, named, mended from a copy where there is one, and never restored."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyrage
import pytest

from ops.backup.archive import Archive, path_of
from ops.backup.copying import Copier
from ops.backup.failures import BackupFailed, Damaged
from ops.backup.fetch import fetch, prove
from ops.backup.listing import listed
from ops.backup.manifest import Manifest
from ops.backup.metrics import Metrics
from ops.backup.opening import Parts
from ops.backup.planning import choose
from ops.backup.record import Drill
from ops.backup.sidecar import Sidecar
from ops.backup.store_keeper import StoreKeeper
from tests.fixtures.backups import change, flip, make_state, messages_of, parts_for, take

IDENTITY = pyrage.x25519.Identity.generate()
DRILLED = Drill(time.time(), True, "just now")
KINDS = ("chunk", "list", "journal", "manifest")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a database with some conversations and a revocation."""
    path = tmp_path / "data" / "sovereign_assistant.db"
    make_state(path, threads=5)
    path.with_name(f"{path.name}.revocations").write_bytes(b'{"id":"key_1"}\n')
    return path


def file_of(archive: Archive, manifest: Manifest, kind: str, root: Path) -> Path:
    """Return a stored file of a kind that a snapshot needs."""
    assert manifest.journal is not None
    names = {
        "chunk": path_of(next(archive.lists(manifest))[1].stored),
        "list": path_of(manifest.lists[0]),
        "journal": path_of(manifest.journal.stored),
        "manifest": f"snapshots/{manifest.id}.json",
    }
    return root / names[kind]


def keeper(parts: Parts) -> StoreKeeper:
    return StoreKeeper(parts, Metrics(), lambda: None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("place", [0, 5, None, -1])
def test_a_flipped_bit_is_found_and_its_snapshot_is_not_restored(
    state: Path, tmp_path: Path, kind: str, sealed: bool, place: int | None
) -> None:
    env = {"BACKUP_RECIPIENTS": str(IDENTITY.to_public()), "BACKUP_IDENTITY": str(IDENTITY)} if sealed else {}
    parts = parts_for(state, tmp_path / "backups", **env)
    manifest = take(parts).manifest
    flip(file_of(parts.local, manifest, kind, tmp_path / "backups"), place)
    with pytest.raises(BackupFailed):
        choose(parts, manifest.id, None)
    with pytest.raises(BackupFailed, match=manifest.id):
        keeper(parts).scrub(list(range(256)), manifests=True)
    [row], _ = listed(parts)
    assert row["state"] == "damaged"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_damaged_is_mended_from_a_copy(state: Path, tmp_path: Path, kind: str) -> None:
    parts = parts_for(state, tmp_path / "backups", BACKUP_COPY_DIR=str(tmp_path / "copy"))
    manifest = take(parts).manifest
    bring(parts)
    path = file_of(parts.local, manifest, kind, tmp_path / "backups")
    whole = path.read_bytes()
    flip(path)
    keeper(parts).scrub(list(range(256)), manifests=True)
    assert path.read_bytes() == whole
    [row], _ = listed(parts)
    assert row["state"] == "verified"


@pytest.mark.parametrize("kind", KINDS)
def test_a_restore_takes_the_copy_where_the_store_here_is_damaged(state: Path, tmp_path: Path, kind: str) -> None:
    parts = parts_for(state, tmp_path / "backups", BACKUP_COPY_DIR=str(tmp_path / "copy"))
    manifest = take(parts).manifest
    bring(parts)
    flip(file_of(parts.local, manifest, kind, tmp_path / "backups"))
    found = choose(parts, manifest.id, None)
    assert found.archive.place.label == "directory"
    fetch(found.archive, found.manifest, tmp_path / "restored.db")
    prove(tmp_path / "restored.db", manifest)


def test_a_file_that_is_gone_is_missed_by_the_next_pruning(state: Path, tmp_path: Path) -> None:
    parts = parts_for(state, tmp_path / "backups")
    manifest = take(parts).manifest
    file_of(parts.local, manifest, "chunk", tmp_path / "backups").unlink()
    with pytest.raises(BackupFailed, match=manifest.id):
        keeper(parts).prune_when_due()
    assert parts.local.ids() == [manifest.id], "said, and not thrown away"


def test_the_next_snapshot_stores_anew_what_was_damaged_and_so_mends_the_one_before(
    state: Path, tmp_path: Path
) -> None:
    parts = parts_for(state, tmp_path / "backups")
    sidecar = Sidecar(parts, Metrics(), 60)
    with ThreadPoolExecutor(1) as drills:
        parts.settings.path.mkdir()
        parts.notes.note_drill("none", DRILLED, frozenset())  # none is due
        sidecar.tick(drills)
        [first] = parts.local.ids()
        manifest = parts.local.manifest(first)
        flip(file_of(parts.local, manifest, "chunk", tmp_path / "backups"))
        with pytest.raises(BackupFailed):
            sidecar._keeper.scrub(list(range(256)), manifests=False)
        assert parts.notes.read().damaged == {first}
        sidecar.tick(drills)
        sidecar._keeper.scrub(list(range(256)), manifests=True)
    assert parts.notes.read().damaged == frozenset()
    assert messages_of(parts.local, first, tmp_path)


def test_a_snapshot_whose_chunks_are_in_another_order_is_not_restored(state: Path, tmp_path: Path) -> None:
    parts = parts_for(state, tmp_path / "backups")
    manifest = take(parts).manifest
    chunks = next(parts.local.lists(manifest))
    swapped, _ = parts.local.put_list([chunks[1], chunks[0], *chunks[2:]], frozenset())
    forged = type(manifest)(
        **{one: getattr(manifest, one) for one in manifest.__struct_fields__} | {"lists": (swapped,)}
    )
    with pytest.raises(Damaged, match="its checksum is another"):
        fetch(parts.local, forged, tmp_path / "restored.db")
    assert not (tmp_path / "restored.db").exists()


def test_a_file_that_does_not_hold_the_rows_that_were_counted_is_not_restored(state: Path, tmp_path: Path) -> None:
    parts = parts_for(state, tmp_path / "backups")
    manifest = take(parts).manifest
    fetch(parts.local, manifest, tmp_path / "restored.db")
    change(tmp_path / "restored.db", "thread_other")
    with pytest.raises(Damaged, match="does not hold the rows"):
        prove(tmp_path / "restored.db", manifest)


def bring(parts: Parts) -> None:
    """Bring the copies up."""
    for archive in parts.copies:
        Copier(parts.local, archive).bring()
