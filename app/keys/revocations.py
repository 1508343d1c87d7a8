"""The revocation journal: a file beside the database that a restored backup of the database does not replace.

JSON Lines, a state of a key or a project each; the last line about one counts. A line is on disk before the change
that it tells of is committed. At start what the database does not know is applied to it: a key that was revoked stays
so, and so does a secret that was rotated away.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock

import msgspec

from app.db.database import CannotOpen, StorageFailed, WriteTx
from app.keys.repository import KeyWriter, state_of
from app.keys.state import KeyState, ProjectState, State

_decode = msgspec.json.Decoder(State).decode


class RevocationJournal:
    """The open file. Lines are written by whichever thread carries the transaction out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._file = -1

    def open(self) -> list[State]:
        """Open the file, made if it is not there, and return the last state of each key and project.

        A last line that was cut off, as by a power cut, is dropped: its change was not committed. Raises CannotOpen.
        """
        try:
            fresh = not self.path.exists()
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            if fresh:
                sync_folder(self.path.parent)
            text = self.path.read_bytes()
            whole = text.rfind(b"\n") + 1
            if whole < len(text):
                os.ftruncate(self._file, whole)
        except OSError as failure:
            raise CannotOpen(f"cannot open the revocation journal {self.path}: {failure.strerror}") from None
        last = {state.id: state for state in self._states(text[:whole])}
        return list(last.values())

    def _states(self, text: bytes) -> Iterable[State]:
        for number, line in enumerate(text.splitlines(), 1):
            try:
                yield _decode(line)
            except msgspec.DecodeError:
                place = f"line {number} of the revocation journal {self.path}"
                raise CannotOpen(f"{place} is damaged: mend or remove that line") from None

    def write(self, state: State) -> None:
        """Put a line on disk. Raises StorageFailed, and then nothing of it is there."""
        line = msgspec.json.encode(state) + b"\n"
        with self._lock:
            before = os.fstat(self._file).st_size
            try:
                if os.write(self._file, line) < len(line):
                    raise OSError
                os.fsync(self._file)
            except OSError as failure:
                with suppress(OSError):
                    os.ftruncate(self._file, before)
                raise StorageFailed from failure

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)


def apply(tx: WriteTx, states: Iterable[State], now: int) -> None:
    """Bring a database that is older than the journal up to it. What it does not have stays away."""
    writer = KeyWriter(tx)
    for state in states:
        if isinstance(state, ProjectState):
            if writer.project(state.id) is not None:
                writer.archive(state.id, state.archived_at)
        elif (row := writer.key(state.id)) is not None and state_of(row).generation < state.generation:
            writer.change_key(row, columns_of(state), now)


def columns_of(state: KeyState) -> dict[str, object]:
    """Return a state as the columns that it is kept in."""
    return {name: getattr(state, name) for name in KeyState.__struct_fields__}


def sync_folder(path: Path) -> None:
    """Put a folder's list of files on disk: without it a power cut can take a new file away, fsynced or not."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
