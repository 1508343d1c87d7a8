"""Where files are kept by name: a folder here, or a bucket (`bucket.py`). A file is there whole or not at all."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from app.keys.revocations import sync_folder
from ops.backup.failures import BackupFailed, on_disk

PART = ".part"
PRIVATE = 0o600
"""What is stored holds conversations."""


class Place(Protocol):
    """Files by name. Every method raises BackupFailed."""

    label: str

    def get(self, name: str) -> bytes:
        """Return a file. Raises KeyError when there is none."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write a file. It lasts once `settle` was called."""
        ...

    def settle(self) -> None:
        """Return when everything put here lasts."""
        ...

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the files of a folder, each with its size in bytes."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; those that are not there are no matter."""
        ...


class Folder:
    """Files in a folder of a disk."""

    def __init__(self, root: Path, label: str = "local") -> None:
        self.root = root
        self.label = label
        self._touched: set[Path] = set()

    def get(self, name: str) -> bytes:
        """Read a file."""
        try:
            with self._asked(self.root / name):
                return (self.root / name).read_bytes()
        except BackupFailed as failure:
            if isinstance(failure.__cause__, FileNotFoundError):
                raise KeyError(name) from None
            raise

    def put(self, name: str, data: bytes) -> None:
        """Write beside, sync, rename. A name that is taken is replaced in one step."""
        path = self.root / name
        part = path.with_name(path.name + PART)
        with self._asked(path):
            self._make(path.parent)
            try:
                with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                part.rename(path)
            except BaseException:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
                raise
        self._touched.add(path.parent)

    def _make(self, folder: Path) -> None:
        """Make a folder that lasts."""
        if not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir(exist_ok=True, mode=0o700)
            self._touched.add(folder.parent)

    def settle(self) -> None:
        """Sync the folders that files were put into."""
        while self._touched:
            folder = self._touched.pop()
            with self._asked(folder):
                sync_folder(folder)

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """List a folder and those in it, without what a writer that was killed left behind."""
        with self._asked(self.root):
            for folder, _, files in os.walk(self.root / prefix, onerror=_unless_gone):
                for name in files:
                    path = Path(folder) / name
                    if not name.endswith(PART):
                        with suppress(FileNotFoundError):  # removed meanwhile
                            yield str(path.relative_to(self.root)), path.stat().st_size

    def delete(self, names: Iterable[str]) -> None:
        """Unlink. What reappears after a power cut is removed by the next pruning."""
        for name in names:
            with self._asked(self.root / name):
                (self.root / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what a writer that was killed left behind. The caller holds the lock."""
        with self._asked(self.root):
            for folder, _, files in os.walk(self.root):
                for name in files:
                    if name.endswith(PART):
                        (Path(folder) / name).unlink(missing_ok=True)

    @contextmanager
    def _asked(self, path: Path) -> Iterator[None]:
        """Turn what the file system refuses into BackupFailed."""
        with on_disk(path):
            yield


class Mounted(Folder):
    """A folder on a disk that may be away. It is never made here: that would be one on the disk under its mount."""

    @contextmanager
    def _asked(self, path: Path) -> Iterator[None]:
        with on_disk(path, "copy_unreachable"):
            if not self.root.is_dir():
                raise BackupFailed("copy_unreachable", f"there is no folder {self.root}: is its disk mounted?")
            yield


def _unless_gone(failure: OSError) -> None:
    """Pass over a folder that is not there, and over none that cannot be read: its files would seem to be gone."""
    if not isinstance(failure, FileNotFoundError):
        raise failure
