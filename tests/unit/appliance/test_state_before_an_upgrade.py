"""The state set aside before an upgrade and put back after one that failed."""

from pathlib import Path

from ops.appliance.state import KEPT, put_back, save


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def state(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_what_was_there_is_there_again_and_what_came_later_is_gone(tmp_path: Path) -> None:
    data, backups = state(tmp_path / "data", db="old", pepper="p"), tmp_path / "backups"
    save("1", data, backups)
    (data / "db").write_text("migrated")
    (data / "db-wal").write_text("of the new version")
    put_back("1", data, backups)
    assert contents(data) == {"db": "old", "pepper": "p"}


def test_what_was_revoked_meanwhile_stays_revoked(tmp_path: Path) -> None:
    data, backups = state(tmp_path / "data", db="old", db_revocations="one"), tmp_path / "backups"
    save("1", data, backups)
    (data / "db.revocations").write_text("one, two")
    put_back("1", data, backups)
    assert contents(data) == {"db": "old", "db.revocations": "one, two"}


def test_a_copy_counts_once_it_is_whole_and_the_newest_three_are_kept(tmp_path: Path) -> None:
    data, backups = state(tmp_path / "data", db="x"), tmp_path / "backups"
    (backups / "before-upgrade-0.unfinished").mkdir(parents=True)
    (backups / "snapshots").mkdir()
    for number in range(5):
        save(str(number), data, backups)
    kept = sorted(path.name for path in backups.iterdir())
    assert kept == ["before-upgrade-2", "before-upgrade-3", "before-upgrade-4", "snapshots"]
    assert KEPT == 3
