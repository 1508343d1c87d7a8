"""Fills a store with many threads and messages, straight into the file, before anything is measured."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

PROJECT = "proj_default"
BATCH = 10_000
THREAD = "INSERT INTO threads (id, project_id, created_at, metadata, last_position) VALUES (?, ?, ?, '{}', ?)"
MESSAGE = (
    "INSERT INTO messages (id, project_id, thread_id, position, created_at, role, status, content, attachments,"
    " metadata, completed_at) VALUES (?, ?, ?, ?, ?, ?, 'completed', ?, '[]', '{}', ?)"
)
SAID = "gold rose on a weaker dollar and lower real yields"
CONTENT = f'[{{"type":"text","text":{{"value":"{SAID}","annotations":[]}}}}]'
CREATED_AT = 1_700_000_000


def thread_ids(sizes: Sequence[int]) -> list[str]:
    """Name the threads that get messages, one for each size."""
    return [f"thread_bench{size:019d}" for size in sizes]


def role_at(position: int) -> str:
    """Say who speaks at a position of a filled thread."""
    return "user" if position % 2 else "assistant"


def fill_threads(file: Path, sizes: Sequence[int], threads: int) -> None:
    """Add the measured threads and many others."""
    with _opened(file) as database:
        others = ((f"thread_other{number:019d}", PROJECT, CREATED_AT + number, 0) for number in range(threads))
        database.executemany(THREAD, others)
        measured = zip(thread_ids(sizes), sizes, strict=True)
        database.executemany(THREAD, ((name, PROJECT, CREATED_AT, size) for name, size in measured))


def fill_messages(file: Path, thread: str) -> None:
    """Add a measured thread's messages."""
    count = int(thread.removeprefix("thread_bench"))
    rows = (
        (
            f"msg_{count:012d}{position:012d}",
            PROJECT,
            thread,
            position,
            CREATED_AT + position,
            role_at(position),
            CONTENT,
            CREATED_AT + position,
        )
        for position in range(1, count + 1)
    )
    with _opened(file) as database:
        database.executemany(MESSAGE, rows)


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=30)
