"""What is measured. Each scenario returns rows: what, figure, the bare model server's, and the aim."""

import asyncio

from msgspec import Struct

from bench.client import Client
from bench.filling import fill_messages, fill_threads, thread_ids
from bench.load import keep_busy, median_ms
from bench.rig import rig

SHORT = "say exactly: gold rose on a weaker dollar and lower real yields today"
MIDDLE = "repeat 60 words"
LONG = "repeat 400 words"
SIZES = (100, 10_000, 100_000)
REPEATS = 200


class Row(Struct, frozen=True):
    """One line of the table."""

    what: str
    figure: str
    bare: str = ""
    aim: str = ""


async def first_token(seconds: float) -> list[Row]:
    """Measure how much later the first token comes through the API than straight from the model server."""
    rows = []
    for callers, text, token_ms in ((1, SHORT, 1), (32, MIDDLE, 15)):
        with rig(token_ms=token_ms) as servers:
            async with Client(servers) as client:
                assistant = await client.assistant()
                bare = await keep_busy(lambda: client.direct(text), callers=callers, seconds=seconds)  # noqa: B023 - awaited at once
                ours = await keep_busy(lambda: client.run(assistant, text), callers=callers, seconds=seconds)  # noqa: B023
        added = ours.first_ms() - bare.first_ms()
        figure = f"{ours.first_ms():.2f} ms (p95 {ours.first_ms(0.95):.2f}), {added:+.2f} added"
        aim = "≤ 3 ms added" if callers == 1 else ""
        what = f"time to first token, {callers} streams, a token each {token_ms} ms"
        rows.append(Row(what, figure, f"{bare.first_ms():.2f} ms", aim))
    return rows


async def runs_per_second(seconds: float) -> list[Row]:
    """Measure whole durable runs: thread, message, run and answer on disk, with an instant model."""
    rows = []
    with rig() as servers:
        async with Client(servers) as client:
            assistant = await client.assistant()
            for callers in (1, 16, 32):
                bare = await keep_busy(lambda: client.direct(SHORT), callers=callers, seconds=seconds / 2)
                before = servers.cpu_s()
                ours = await keep_busy(lambda: client.run(assistant, SHORT), callers=callers, seconds=seconds)
                cpu_ms = (servers.cpu_s() - before) / len(ours.times) * 1000
                figure = f"{ours.per_second:.0f}/s, {cpu_ms:.2f} ms CPU each"
                aim = "≥ 300/s" if callers > 1 else ""
                rows.append(Row(f"durable runs, {callers} callers", figure, f"{bare.per_second:.0f}/s", aim))
            rows.append(Row("memory of the API afterwards", f"{servers.memory_mb():.0f} MB"))
    return rows


async def chunk_cost(seconds: float) -> list[Row]:
    """Measure the processor time of a relayed chunk: paced, so that each comes alone, and as fast as they come."""
    rows = []
    for callers, token_ms in ((8, 10), (32, 5), (8, 0)):
        with rig(token_ms=token_ms) as servers:
            async with Client(servers) as client:
                assistant = await client.assistant()
                before = servers.cpu_s()
                seen = await keep_busy(lambda: client.run(assistant, LONG), callers=callers, seconds=seconds)  # noqa: B023 - awaited at once
                chunks = sum(times.chunks for times in seen.times)
                cost = (servers.cpu_s() - before) / chunks * 1e6
        what = f"CPU per relayed chunk, {callers} streams, {f'a token each {token_ms} ms' if token_ms else 'unpaced'}"
        rows.append(Row(what, f"{cost:.1f} µs ({chunks} chunks)", aim="≤ 40 µs"))
    return rows


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
                message = {"role": "user", "content": SHORT}
                await asyncio.to_thread(fill_messages, servers.database, thread)
                await client.get(path)
                rows["page of 20"].append(await median_ms(lambda: client.get(path), times=REPEATS))  # noqa: B023 - awaited at once
                rows["append"].append(await median_ms(lambda: client.post(path, message), times=REPEATS))  # noqa: B023
                firsts = [(await client.run_on(thread, assistant)).first_s * 1000 for _ in range(REPEATS)]
                rows["run, first token"].append(sorted(firsts)[len(firsts) // 2])
    store = f"{threads:,} threads in the store"
    return [
        Row(
            f"{what} at {SIZES[0]:,} / {SIZES[1]:,} / {SIZES[2]:,} messages",
            " / ".join(f"{value:.2f}" for value in values) + f" ms, growth {values[-1] / values[0]:.2f}×",
            aim="≤ 1.2×" if what != "run, first token" else store,
        )
        for what, values in rows.items()
    ]
