"""What can go wrong with a backup, each with the cause that its counter and its alert have."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Cause = Literal[
    "source_missing", "source_damaged", "disk_full", "no_key", "damaged", "copy_unreachable", "drill", "in_use", "other"
]
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BackupFailed(Exception):
    """A snapshot, a copy or a restore could not be made. The message is one line and holds no content and no secret."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause: Cause = cause


class Damaged(BackupFailed):
    """Something stored is not what was written."""

    def __init__(self, message: str) -> None:
        super().__init__("damaged", message)


class NoKey(BackupFailed):
    """What is stored is encrypted, and the identity that opens it is not here."""

    def __init__(self) -> None:
        super().__init__("no_key", "it is encrypted: give the age identity in BACKUP_IDENTITY_FILE")


@contextmanager
def on_disk(where: Path) -> Iterator[None]:
    """Turn what the file system refuses into BackupFailed."""
    try:
        yield
    except OSError as failure:
        if failure.errno in _DISK_FULL:
            raise BackupFailed("disk_full", f"{where}: no space is left for it") from failure
        raise BackupFailed("other", f"{failure.filename or where}: {failure.strerror or failure}") from failure
