"""Sets the state aside before an upgrade and puts it back after one that failed. Standard library only.

    python -m ops.appliance.state save NAME | put-back NAME

Runs in a container with both volumes while the API stands still, so that a plain copy is a consistent one. What was
revoked stays so: the journal of revocations is set aside too, but never put back.
"""

import os
import shutil
import sys
from pathlib import Path

STATE = Path("/data")
BACKUPS = Path("/backups")
PREFIX = "before-upgrade-"
KEPT = 3
KEPT_AS_IT_IS = ".revocations"
UNFINISHED = ".unfinished"


def save(name: str, state: Path = STATE, backups: Path = BACKUPS) -> Path:
    """Copy every file of the state into a folder that appears only once it is whole; drop all but the newest three."""
    folder = backups / f"{PREFIX}{name}"
    unfinished = folder.with_name(folder.name + UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for path in sorted(state.iterdir()):
        if path.is_file():
            copy(path, unfinished / path.name)
    sync(unfinished)
    unfinished.rename(folder)
    sync(backups)
    for old in sorted(backups.glob(f"{PREFIX}*[0-9]"))[:-KEPT]:
        shutil.rmtree(old)
    return folder


def put_back(name: str, state: Path = STATE, backups: Path = BACKUPS) -> None:
    """Replace the state by what was set aside. What did not exist then is removed, a left-over `-wal` among it."""
    folder = backups / f"{PREFIX}{name}"
    kept = {path.name: path for path in folder.iterdir() if not path.name.endswith(KEPT_AS_IT_IS)}
    for path in sorted(state.iterdir()):
        if path.is_file() and path.name not in kept and not path.name.endswith(KEPT_AS_IT_IS):
            path.unlink()
    for path in kept.values():
        beside = state / (path.name + UNFINISHED)
        copy(path, beside)
        beside.replace(state / path.name)
    sync(state)


def copy(source: Path, target: Path) -> None:
    """Copy a file with its mode, onto the disk."""
    shutil.copy2(source, target)
    sync(target)


def sync(path: Path) -> None:
    """Wait until a file or a folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["save", name]:
            print(save(name))
        case ["put-back", name]:
            put_back(name)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
