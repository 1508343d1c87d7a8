"""What snapshots and a restore take of a file of some size, while a process writes 200 messages a second into it."""

import app  # noqa: F401, I001 - first, so that sqlite3 is the fixed engine

import asyncio
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

from app.db.opening import open_database
from app.settings import load_settings
from bench.table import Row
from ops.backup.opening import parts_of
from ops.backup.planning import choose
from ops.backup.restoring import Restoring
from ops.backup.settings import load_backup_settings
from ops.backup.snapshot import Snapshotter
from ops.backup.switching import NoServer, carry_on

MINUTE_S = 60.0
PER_SECOND = 200
RECENT = 500
CHARACTERS = 1200
THREAD = (
    "INSERT INTO threads (id, project_id, created_at, metadata, last_position) VALUES (?, 'proj_default', 1, '{}', 0)"
)
MESSAGE = (
    "INSERT INTO messages (id, project_id, thread_id, position, created_at, role, status, content, metadata) "
    "SELECT ?, project_id, id, last_position + 1, 1, 'user', 'completed', ?, '{}' FROM threads WHERE id = ?"
)
ADVANCE = "UPDATE threads SET last_position = last_position + 1 WHERE id = ?"


async def backups(seconds: float, *, megabytes: int) -> list[Row]:
    """Take a first snapshot and one a minute later, then restore; `seconds` does not matter."""
    del seconds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data" / "sovereign_assistant.db"
        database = await open_database(f"sqlite:///{path}")
        await database.close()
        return await asyncio.to_thread(_measured, path, Path(folder) / "backups", megabytes)


def _measured(path: Path, folder: Path, megabytes: int) -> list[Row]:
    threads = fill(path, megabytes * 1_000_000)
    parts = parts_of(
        load_settings({"DATABASE_URL": f"sqlite:///{path}"}), load_backup_settings({"BACKUP_DIR": str(folder)})
    )
    taker = Snapshotter(parts.source, parts.local, parts.scratch, ())
    command = [sys.executable, "-m", "bench.backups", str(path), str(threads)]
    with subprocess.Popen(command) as writer:
        try:
            taken = []
            for pause_s in (MINUTE_S, 0.0):
                began = time.monotonic()
                one = taker.take()
                assert one is not None
                taken.append(one.manifest)
                threading.Event().wait(max(0.0, pause_s - (time.monotonic() - began)))
        finally:
            writer.kill()
    began = time.monotonic()
    found = choose(parts, None, None)
    files = Restoring(parts.source)
    files.stage(found.archive, found.manifest)
    carry_on(files, NoServer(), lambda words: None)
    restored_s = time.monotonic() - began
    first, second = taken
    size = f"{megabytes} MB, {PER_SECOND} messages a second"
    return [
        Row(f"first snapshot of {size}", f"{first.duration_s:.1f} s, {first.new_bytes / 1e6:.0f} MB stored"),
        Row("… one a minute later", f"{second.duration_s:.1f} s, {second.new_bytes / 1e6:.0f} MB stored"),
        Row("… longest transaction meanwhile", f"{max(one.stall_s for one in taken) * 1000:.0f} ms", aim="≤ 200 ms"),
        Row("… restored, until it is in place", f"{restored_s:.1f} s", aim="≤ 30 s at 1 GB"),
    ]


def texts() -> Iterator[str]:
    """Yield messages that compress as text does."""
    words = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 9))) for _ in range(5000)]
    pool = " ".join(random.choices(words, k=1_000_000))
    while True:
        start = random.randrange(len(pool) - CHARACTERS)
        yield f'[{{"type":"text","text":{{"value":"{pool[start : start + CHARACTERS]}","annotations":[]}}}}]'


def fill(path: Path, size: int) -> int:
    """Write threads of ten messages until the file is so large; return how many."""
    text = texts()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for number in count():
            if number % 200 == 0:
                if number:
                    connection.execute("COMMIT")
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                if path.stat().st_size >= size:
                    return number
                connection.execute("BEGIN")
            thread = f"thread_{number:012d}"
            connection.execute(THREAD, (thread,))
            for position in range(10):
                connection.execute(MESSAGE, (f"msg_{number:012d}{position}", next(text), thread))
                connection.execute(ADVANCE, (thread,))
    raise AssertionError


def write(path: str, threads: int) -> None:
    """Write until killed: nine in ten messages into the newest threads, the others into any."""
    text, due = texts(), time.monotonic()
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "journal_size_limit=67108864"):
        connection.execute(f"PRAGMA {pragma}")
    for number in count():
        oldest = 0 if number % 10 == 0 else max(0, threads - RECENT)
        thread = f"thread_{random.randrange(oldest, threads):012d}"
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(MESSAGE, (f"msg_w{time.time_ns():x}", next(text), thread))
        connection.execute(ADVANCE, (thread,))
        connection.execute("COMMIT")
        due = max(due + 1 / PER_SECOND, time.monotonic() - 0.1)
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]))
