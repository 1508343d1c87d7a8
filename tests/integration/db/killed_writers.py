"""A program that starts writers, kills each with SIGKILL while it writes, and tells what they had acknowledged.

`python -m tests.integration.db.killed_writers DATABASE_URL KILLS`: one line of numbers for each writer killed. The
writers are forked, so that the libraries are loaded once and a kill costs milliseconds.
"""

import asyncio
import os
import random
import signal
import sys

from app.db.opening import open_database
from tests.integration.db import notes

CONCURRENT = 16
ACKNOWLEDGED_BEFORE_THE_KILL = 120
SPACING = 1_000_000


async def write_for_ever(url: str, first: int, out: int) -> None:
    """Write notes from several tasks; say each number only when the write returned."""
    database = await open_database(url)
    await database.write(notes.create)

    async def write_own(offset: int) -> None:
        number = first + offset
        while True:
            await database.write(notes.add(number))
            os.write(out, b"%d\n" % number)
            number += CONCURRENT

    await asyncio.gather(*(write_own(offset) for offset in range(CONCURRENT)))


def kill_one(url: str, first: int, patience: int) -> list[str]:
    """Fork a writer, kill it once it has acknowledged `patience` notes; return all that it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            asyncio.run(write_for_ever(url, first, writing))
        finally:
            os._exit(1)
    os.close(writing)
    told = b""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while told.count(b"\n") < patience and (more := pipe.read(4096)):
            told += more
        os.kill(child, signal.SIGKILL)
        while more := pipe.read(4096):
            told += more
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit("a writer ended by itself; its own output says why")
    return told.decode().split()


def main(url: str, kills: int) -> None:
    """Kill writers, one after the other, over the same file."""
    for number in range(kills):
        patience = random.randint(1, ACKNOWLEDGED_BEFORE_THE_KILL)
        print(*kill_one(url, number * SPACING, patience), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
