"""SQLite files as backups see them: how one is opened that others write, copied, checked, and made one file again."""

import fcntl
import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from app.db.driver import require_fixed_engine
from ops.backup.failures import BackupFailed, Damaged, on_disk

BUSY_TIMEOUT_S = 10.0
ENGINE = sqlite3.sqlite_version
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510
_FLOCK = struct.Struct("hhqqi4x")
_MAGIC = b"SQLite format 3\0"
_TABLES = (
    "SELECT name FROM pragma_table_list WHERE schema='main' AND type='table' AND wr=0 AND name NOT LIKE 'sqlite_%'"
)

_NEWEST_MESSAGE = """
    SELECT threads.project_id, threads.id, messages.id
    FROM threads JOIN projects ON projects.id = threads.project_id
    JOIN messages ON messages.thread_id = threads.id AND messages.position = threads.last_position
    WHERE projects.archived_at IS NULL AND threads.id >= 'thread_' AND threads.id < 'thread`'
    ORDER BY threads.rowid DESC LIMIT 1
"""


class Marks(NamedTuple):
    """How far a database is: its schema, and the newest row of each table."""

    revision: str
    watermarks: dict[str, int]


class Checked(NamedTuple):
    """What a sound file holds."""

    marks: Marks
    rows: dict[str, int]


class Conversation(NamedTuple):
    """A message that can be looked for, and where it must be."""

    project_id: str
    thread_id: str
    message_id: str


def uri_to_read(path: Path) -> str:
    """Return how to open a database that another process may be writing, from where nothing can be written.

    A live writer has a `-wal` and a `-shm`, also after a crash: `mode=ro` reads them. After a clean end there is
    neither, and on a read-only mount SQLite could not make them: then the file alone is all there is, and nobody has
    it open. Anything in between, a `-wal` whose `-shm` is gone, is not for us to guess at.
    """
    wal, shm = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    if shm.exists():
        return _uri(path, "mode=ro")
    if wal.exists() and wal.stat().st_size:
        raise BackupFailed(
            "source_damaged", f"{path} has a -wal that no server is using: start the API once, it takes it up"
        )
    if is_open_elsewhere(path):
        raise BackupFailed("in_use", f"{path} is being opened or closed right now")
    return _uri(path, "mode=ro&immutable=1")


def is_open_elsewhere(path: Path) -> bool:
    """Tell whether another process holds the lock that every open WAL database has, without taking one."""
    handle = os.open(path, os.O_RDONLY)
    try:
        wish = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)
        found = _FLOCK.unpack(fcntl.fcntl(handle, fcntl.F_GETLK, wish))
    finally:
        os.close(handle)
    return bool(found[0] != fcntl.F_UNLCK)


def copy(source: Path, target: Path) -> Marks | None:
    """Copy a database that others write, in one step; None when it has no schema yet.

    The marks are read in the transaction that is copied. A copy in several steps would start over at each commit of
    another process, and under load never end. Nothing is synced: the copy is read once and thrown away.
    """
    require_fixed_engine(sqlite3.sqlite_version_info)
    target.unlink(missing_ok=True)
    with (
        _translated(source),
        closing(_connect(uri_to_read(source))) as reader,
        closing(_connect(str(target))) as writer,
    ):
        reader.execute("BEGIN")
        found = marks(reader)
        if found is not None:
            writer.execute("PRAGMA journal_mode=OFF")
            writer.execute("PRAGMA synchronous=OFF")
            with _room_for(target):
                reader.backup(writer, pages=-1)
    return found


@contextmanager
def _room_for(target: Path) -> Iterator[None]:
    """Tell a full disk from a source that cannot be read: the backup API gives no code for either."""
    try:
        yield
    except sqlite3.Error:
        with on_disk(target), target.open("ab") as file:
            file.write(bytes(4096))
            file.flush()
        raise


def marks(connection: sqlite3.Connection) -> Marks | None:
    """Read how far a database is; None when it has no schema yet."""
    tables = [name for (name,) in connection.execute(_TABLES)]
    if "alembic_version" not in tables:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        return None
    newest = {name: connection.execute(f'SELECT max(rowid) FROM "{name}"').fetchone()[0] or 0 for name in tables}  # noqa: S608 - the schema's own names
    return Marks(str(row[0]), newest)


def check(path: Path) -> Checked:
    """Read a whole file that nobody writes. Raises Damaged with what is wrong with it."""
    with _translated(path, Damaged), closing(_connect(_uri(path, "mode=ro&immutable=1"))) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise Damaged(f"{path.name} is damaged: the integrity check fails")
        broken = connection.execute("PRAGMA foreign_key_check").fetchone()
        if broken:
            raise Damaged(f"{path.name} is damaged: a row of {broken[0]} refers to no {broken[2]}")
        found = marks(connection)
        if found is None:
            raise Damaged(f"{path.name} has no schema")
        counts = {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - as above
            for name in found.watermarks
        }
        return Checked(found, counts)


def newest_conversation(path: Path) -> Conversation | None:
    """Return the newest message of a project that is in use; None when there is none."""
    with _translated(path, Damaged), closing(_connect(_uri(path, "mode=ro&immutable=1"))) as connection:
        row = connection.execute(_NEWEST_MESSAGE).fetchone()
        return None if row is None else Conversation(*row)


def make_whole(path: Path) -> None:
    """Bring what is in the `-wal` into the file, so that it can be renamed. The caller holds the server's lock.

    Raises Damaged when that cannot be done.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:  # or its log would be written over what can still be looked into
            raise Damaged(f"{path.name} is no database any more")
    with _translated(path, Damaged), closing(_connect(_uri(path, "mode=rw"))) as connection:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise BackupFailed("in_use", f"{path} is open in another process")


def _uri(path: Path, how: str) -> str:
    return f"file:{quote(str(path))}?{how}"


def _connect(where: str) -> sqlite3.Connection:
    return sqlite3.connect(where, uri=where.startswith("file:"), isolation_level=None, timeout=BUSY_TIMEOUT_S)


@contextmanager
def _translated(path: Path, damaged: type[Damaged] | None = None) -> Iterator[None]:
    """Turn SQLite's failures into ours, by their codes alone."""
    try:
        yield
    except sqlite3.Error as failure:
        code = str(getattr(failure, "sqlite_errorname", None) or type(failure).__name__)
        if code.startswith(("SQLITE_FULL", "SQLITE_IOERR_WRITE")):
            raise BackupFailed("disk_full", f"{path.name} could not be copied: no space is left") from None
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise BackupFailed("in_use", f"{path} is locked by another process ({code})") from None
        if damaged is not None:
            raise damaged(f"{path.name} is damaged ({code})") from None
        raise BackupFailed("source_damaged", f"{path} cannot be read ({code})") from None
