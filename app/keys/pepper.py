"""The pepper: the secret without which the hashes in the database are worth nothing. It is never in the database."""

import os
import secrets
from pathlib import Path

from app.db.database import CannotOpen
from app.keys.revocations import sync_folder
from app.keys.secret import PEPPER_BYTES

FILE_NAME = "key_pepper"


def kept_pepper(folder: Path, *, has_keys: bool) -> bytes:
    """Return the pepper of a file, made on first use. Raises CannotOpen.

    It is not made anew for a database that has keys: they would all be refused, and nobody would know why.
    """
    path = folder / FILE_NAME
    try:
        if not path.exists():
            if has_keys:
                raise CannotOpen(
                    f"the database has API keys, but the secret that they were made with is missing: {path}. Put the "
                    "file back, or set KEY_PEPPER to anything new and rotate every key."
                )
            _make(path)
        pepper = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as failure:
        raise CannotOpen(f"cannot read {path}: {getattr(failure, 'strerror', None) or 'it is no text'}") from None
    if len(pepper) < PEPPER_BYTES:
        raise CannotOpen(f"{path} is damaged: put the file of a backup in its place")
    return pepper.encode()


def _make(path: Path) -> None:
    """Make the file so that it is there as a whole or not at all. The caller holds the database's lock."""
    made = path.with_name(f"{path.name}.new")
    made.unlink(missing_ok=True)  # one that was left there may be a link, or anybody's to read
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(PEPPER_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    made.rename(path)
    sync_folder(path.parent)
