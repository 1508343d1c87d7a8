"""What grows with a thread and with the store, and what does not."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from app.settings import Settings
from bench.client import Body, Client
from bench.filling import SAID, fill_messages, fill_threads, role_at, thread_ids
from bench.load import median_ms, quantile_of
from bench.rig import rig
from bench.scenarios import SHORT
from bench.table import Row, side_by_side

LENGTHS = (10, 100, 1_000, 10_000)
SIZES = (100, 10_000, 100_000)
REPEATS = 200
ROUNDS = 100
FITTING = 560  # messages that fill the stand-in's window of 8,192 tokens
OFFERED = (Settings().context_messages, 1_000)  # the second is more than fits
QUESTION = {"role": "user", "content": SHORT}


async def starts(seconds: float) -> list[Row]:
    """Measure the start of a run as its thread grows: to the first token, and to the answer that it is created.

    A run answers a new message, and both are taken away again, so that a thread keeps its length. The bare model
    server is asked with what the API shows it. Every round visits all lengths: a noisy moment strikes all of them.
    """
    del seconds
    return [row for offered in OFFERED for row in await _starts(offered)]


async def growth(seconds: float, *, threads: int) -> list[Row]:
    """Measure a page, an append and the start of a run as a thread and the store grow."""
    del seconds
    rows: dict[str, list[float]] = {"page of 20": [], "append": [], "run, first token": []}
    with rig() as servers:
        await asyncio.to_thread(fill_threads, servers.database, SIZES, threads)
        async with Client(servers) as client:
            assistant = await client.assistant()
            for thread in thread_ids(SIZES):
                path = f"/threads/{thread}/messages"
                await asyncio.to_thread(fill_messages, servers.database, thread)
                await client.get(path)
                rows["page of 20"].append(await median_ms(lambda: client.get(path), times=REPEATS))  # noqa: B023 - awaited at once
                rows["append"].append(await median_ms(lambda: client.post(path, QUESTION), times=REPEATS))  # noqa: B023 - the same
                firsts = [(await client.run_on(thread, assistant)).first_s * 1000 for _ in range(REPEATS)]
                rows["run, first token"].append(quantile_of(firsts, 0.5))
    store = f"{threads:,} threads in the store"
    return [
        Row(
            f"{what} at {_spelled(SIZES)}",
            side_by_side(values),
            aim="≤ 1.2×" if what != "run, first token" else store,
        )
        for what, values in rows.items()
    ]


async def _starts(offered: int) -> list[Row]:
    threads = thread_ids(LENGTHS)
    seen: dict[str, list[tuple[float, ...]]] = {thread: [] for thread in threads}
    with rig(CONTEXT_MESSAGES=str(offered)) as servers:
        await asyncio.to_thread(fill_threads, servers.database, LENGTHS, 0)
        for thread in threads:
            await asyncio.to_thread(fill_messages, servers.database, thread)
        async with Client(servers) as client:
            assistant = await client.assistant()
            for _ in range(ROUNDS):
                for thread, length in zip(threads, LENGTHS, strict=True):
                    seen[thread].append(await _start(client, assistant, thread, _shown(length, offered)))
    bare, first, created = zip(*map(_medians_ms, seen.values()), strict=True)
    run = f"run at {_spelled(LENGTHS)}, the newest {offered:,} offered"
    return [
        Row(f"{run}: first token", side_by_side(first), side_by_side(bare)),
        Row(f"{run}: its creation", side_by_side(created)),
    ]


async def _start(client: Client, assistant: str, thread: str, history: Sequence[Body]) -> tuple[float, float, float]:
    """Return seconds to the first token of the bare server and of a run, and to the answer that a run is created."""
    bare = await client.direct(SHORT, history)
    async with _asked(client, thread):
        run = await client.run_on(thread, assistant)
    async with _asked(client, thread):
        created_s = await client.start_on(thread, assistant)
    return bare.first_s, run.first_s, created_s


@asynccontextmanager
async def _asked(client: Client, thread: str) -> AsyncIterator[None]:
    """Add a question to a thread; afterwards take it and its answer away."""
    path = f"/threads/{thread}/messages"
    await client.post(path, QUESTION)
    yield
    for message in (await client.get(f"{path}?limit=2"))["data"]:
        await client.delete(f"{path}/{message['id']}")


def _shown(length: int, offered: int) -> list[Body]:
    """Return what the model is shown of a thread beside a question: its newest messages."""
    oldest = max(1, length - min(offered, FITTING) + 2)
    return [{"role": role_at(position), "content": SAID} for position in range(oldest, length + 1)]


def _medians_ms(times: Sequence[tuple[float, ...]]) -> list[float]:
    return [quantile_of(column, 0.5) * 1000 for column in zip(*times, strict=True)]


def _spelled(sizes: Sequence[int]) -> str:
    return " / ".join(f"{size:,}" for size in sizes) + " messages"
