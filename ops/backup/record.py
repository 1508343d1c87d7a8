"""What is known about snapshots beside what they say themselves: drills, damage, how copies are. One small file."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from ops.backup.failures import BackupFailed, on_disk
from ops.backup.places import Folder

NAME = "record.json"
LOCK = "lock"
WAIT_S = 300.0
LOOK_S = 0.05
SAY_AFTER_S = 2.0
log = logging.getLogger(__name__)


class Drill(Struct, frozen=True):
    """A restore into scratch that was tried: when, in seconds since 1970, and what became of it."""

    at: float
    ok: bool
    words: str


class CopyState(Struct, frozen=True):
    """How a copy was when it was last brought up to date."""

    at: float
    ok: bool
    words: str
    behind: int = 0


class Record(Struct, kw_only=True, frozen=True):
    """Everything of that."""

    drills: dict[str, Drill] = {}
    damaged: frozenset[str] = frozenset()
    copies: dict[str, CopyState] = {}


class Notes(NamedTuple):
    """The file, and the lock of everything that writes into the folder."""

    folder: Path

    def read(self) -> Record:
        """Return what is noted; a file that cannot be read is as good as none: it can all be found out again."""
        try:
            return msgspec.json.decode((self.folder / NAME).read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            return Record()

    def write(self, record: Record) -> None:
        """Replace it."""
        place = Folder(self.folder)
        place.put(NAME, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")

    def note_drill(self, name: str, drill: Drill, kept: frozenset[str]) -> None:
        """Note a drill, and forget those of snapshots that are gone. The caller holds the lock."""
        record = self.read()
        drills = {one: made for one, made in record.drills.items() if one in kept} | {name: drill}
        self.write(msgspec.structs.replace(record, drills=drills))

    def note_damage(self, damaged: frozenset[str]) -> None:
        """Note which snapshots are damaged, all of them. The caller holds the lock."""
        self.write(msgspec.structs.replace(self.read(), damaged=damaged))

    def note_copy(self, label: str, state: CopyState) -> None:
        """Note how a copy is. The caller holds the lock."""
        record = self.read()
        self.write(msgspec.structs.replace(record, copies=record.copies | {label: state}))

    @contextmanager
    def locked(self, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
        """Hold the lock: whoever writes is alone, and nothing is pruned under whoever reads. Raises BackupFailed."""
        with on_disk(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            began = time.monotonic()
            said = False
            while not _taken(handle, kind):
                waited = time.monotonic() - began
                if waited >= (WAIT_S if wait else 0):
                    raise BackupFailed("in_use", f"{self.folder} is in use by another backup or restore")
                if waited >= SAY_AFTER_S and not said:
                    said = True
                    log.warning("waiting, at most %.0f s, for what another backup or restore does", WAIT_S)
                time.sleep(LOOK_S)
            yield
        finally:
            os.close(handle)


def _taken(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
