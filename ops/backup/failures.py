"""What can go wrong with a backup, each with the cause that its counter and its alert have."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Cause = Literal[
    "source_missing", "source_damaged", "disk_full", "no_key", "damaged", "copy_unreachable", "drill", "in_use", "other"
]
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM}


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
    """What is stored is encrypted, and the identity that opens it is not here, or another one is."""

    def __init__(self, *, given: bool = False) -> None:
        words = "the one in BACKUP_IDENTITY_FILE does not open it" if given else "give it in BACKUP_IDENTITY_FILE"
        super().__init__("no_key", f"it is encrypted, and its age identity is needed: {words}")


@contextmanager
def on_disk(where: Path, cause: Cause = "other") -> Iterator[None]:
    """Turn what the file system refuses into BackupFailed, with this cause unless the disk is full."""
    try:
        yield
    except OSError as failure:
        if failure.errno in _DISK_FULL:
            raise BackupFailed("disk_full", f"{where}: no space is left for it") from failure
        words = f"{failure.filename or where}: {failure.strerror or failure}"
        if failure.errno in _NOT_ALLOWED:
            words += f" for user {os.geteuid()}"
        raise BackupFailed(cause, words) from failure
