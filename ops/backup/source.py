"""The state that is backed up: whether it changed, and how long its writer stood still while it was copied."""

import fcntl
import os
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

Stat = tuple[int, int, int] | None
SETTLE_S = 0.02
"""Longer than the grain of a file's time of change: what is written after a look has another time."""


class Source(NamedTuple):
    """A database file and the journal of revocations beside it."""

    database: Path
    journal: Path | None = None

    def state(self) -> tuple[Stat, ...]:
        """Return what differs after every commit. Files are not opened: that could take a lock away from SQLite."""
        wal = self.database.with_name(self.database.name + "-wal")
        return tuple(_stat(path) for path in (self.database, wal, self.journal) if path is not None)

    def wal_bytes(self) -> int:
        """Return how large the `-wal` is."""
        found = _stat(self.database.with_name(self.database.name + "-wal"))
        return found[1] if found else 0


def _stat(path: Path) -> Stat:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


class StallWatch:
    """Measures the longest time that one transaction of the database's writer took while a block ran.

    Looks every few milliseconds at the lock that a writer holds from BEGIN to COMMIT, and at the counter of commits
    beside it. It opens the `-shm` before SQLite does in this process and closes it after SQLite did: closing a file
    drops every lock that the process has on it.
    """

    EVERY_S = 0.002
    _WRITE_LOCK = 120
    _FLOCK = struct.Struct("hhqqi4x")
    _COMMITS = (4, 8)  # four bytes from the ninth on

    def __init__(self, database: Path) -> None:
        self.longest_s = 0.0
        self._path = database.with_name(database.name + "-shm")
        self._handle = -1
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="stall", daemon=True)

    def __enter__(self) -> "StallWatch":
        with suppress(OSError):  # no server, no writer, no stall
            self._handle = os.open(self._path, os.O_RDONLY)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._handle != -1:
            self._thread.join()
            os.close(self._handle)

    def _look(self) -> None:
        since, commits = None, b""
        while not self._over.wait(self.EVERY_S):
            now, seen = time.monotonic(), os.pread(self._handle, *self._COMMITS)
            if not self._writing():
                since = None
            elif since is None or seen != commits:
                since, commits = now, seen
            else:
                self.longest_s = max(self.longest_s, now - since)

    def _writing(self) -> bool:
        wish = self._FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, self._WRITE_LOCK, 1, 0)
        return bool(self._FLOCK.unpack(fcntl.fcntl(self._handle, fcntl.F_GETLK, wish))[0] != fcntl.F_UNLCK)
