"""Looks at what nobody would tell otherwise: how late the event loop is, whether the clock jumped, how large the store
is and how much room there is left for it.
"""

import asyncio
import os
import platform
import time
from pathlib import Path

from app.telemetry import metrics

TICK_S = 0.25
"""Between two looks at the loop; a jump of the clock is noticed within it."""
TICKS_PER_SIZE = 20
JUMP_S = 2.0


def tell_build(version: str) -> None:
    """Say what runs here."""
    metrics.BUILD.info({"version": version, "python": platform.python_version()})


async def keep_sampling(store: Path | None) -> None:
    """Sample for ever. `store` is the file of a SQLite database; what PostgreSQL takes is its own server's to say."""
    offset = time.time() - time.monotonic()
    tick = 0
    while True:
        if store is not None and tick % TICKS_PER_SIZE == 0:
            note_sizes(store)
        tick += 1
        due = time.monotonic() + TICK_S
        await asyncio.sleep(TICK_S)
        metrics.LOOP_LAG.observe(max(0.0, time.monotonic() - due))
        offset = note_jump(offset, time.time() - time.monotonic())


def note_jump(before: float, now: float) -> float:
    """Compare how far the wall clock is from the monotonic one; a slow drift is no jump."""
    if abs(now - before) > JUMP_S:
        metrics.CLOCK_JUMPS.inc()
    return now


def note_sizes(store: Path) -> None:
    """Note the size of a database file, of its log, and of what it lies on. A file that is not there has none."""
    metrics.DB_FILE.set(_size(store))
    metrics.DB_WAL.set(_size(store.with_name(store.name + "-wal")))
    try:
        disk = os.statvfs(store.parent)
    except OSError:
        return
    metrics.DISK_FREE.set(disk.f_bavail * disk.f_frsize)
    metrics.DISK_SIZE.set(disk.f_blocks * disk.f_frsize)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
