"""What relaying a chat completion costs beside asking the model server itself, in the same run."""

import asyncio
import resource
from collections.abc import Awaitable, Callable

from bench.client import Client, Times
from bench.load import Seen, keep_busy
from bench.rig import Rig, rig
from bench.scenarios import LONG, MIDDLE, SHORT
from bench.table import Row

HELD_STREAMS = 1_000
HELD_TOKEN_MS = 50
FILES_OF_A_STREAM = 2  # of the API: to its client, and to the model server
SPARE_STREAMS = 50
HELD_WORDS = "repeat 700 words"


async def relay(seconds: float) -> list[Row]:
    """Measure the first chunk, requests a second, processor time of a chunk, and memory of an open stream."""
    return [*await _first_chunk(seconds), *await _rate(seconds), *await _chunks(seconds), *await _held()]


async def _first_chunk(seconds: float) -> list[Row]:
    rows = []
    for callers, token_ms in ((1, 1), (32, 15), (128, 50)):
        with rig(token_ms=token_ms) as servers:
            async with Client(servers) as client:
                bare = await keep_busy(lambda: client.direct(MIDDLE), callers=callers, seconds=seconds)
                ours = await keep_busy(lambda: client.relayed(MIDDLE), callers=callers, seconds=seconds)
        added = ours.first_ms() - bare.first_ms()
        rows.append(
            Row(
                f"time to first chunk, relayed, {callers} streams, a token each {token_ms} ms",
                f"{ours.first_ms():.2f} ms (p95 {ours.first_ms(0.95):.2f}), {added:+.2f} added",
                f"{bare.first_ms():.2f} ms",
                "≤ 1 ms added" if callers == 1 else "",
            )
        )
    return rows


async def _rate(seconds: float) -> list[Row]:
    rows = []
    with rig() as servers:
        async with Client(servers) as client:
            for callers in (1, 32):
                bare = await keep_busy(lambda: client.direct(SHORT), callers=callers, seconds=seconds / 2)
                ours, cpu_s = await _counted(servers, lambda: client.relayed(SHORT), callers, seconds)
                figure = f"{ours.per_second:.0f}/s, {cpu_s / len(ours.times) * 1000:.2f} ms CPU each"
                rows.append(Row(f"relayed completions, {callers} callers", figure, f"{bare.per_second:.0f}/s"))
    return rows


async def _chunks(seconds: float) -> list[Row]:
    rows = []
    for callers, token_ms in ((8, 10), (32, 5), (8, 0)):
        with rig(token_ms=token_ms) as servers:
            async with Client(servers) as client:
                seen, cpu_s = await _counted(servers, lambda: client.relayed(LONG), callers, seconds)
        chunks = sum(times.chunks for times in seen.times)
        pace = f"a token each {token_ms} ms" if token_ms else "unpaced"
        what = f"CPU per relayed chunk of a completion, {callers} streams, {pace}"
        rows.append(Row(what, f"{cpu_s / chunks * 1e6:.1f} µs ({chunks} chunks)", aim="≤ 15 µs"))
    return rows


async def _held() -> list[Row]:
    """Hold a thousand streams for half a minute at twenty chunks a second each, or as many as files may be open."""
    held_streams = min(HELD_STREAMS, _open_files() // FILES_OF_A_STREAM - SPARE_STREAMS)
    with rig(token_ms=HELD_TOKEN_MS, CONNECTION_LIMIT="2000") as servers:
        async with Client(servers) as client:
            await client.relayed(SHORT)
            before = servers.memory_mb()
            streams = [asyncio.create_task(client.relayed(HELD_WORDS)) for _ in range(held_streams)]
            await asyncio.sleep(15)
            held = servers.memory_mb()
            times = await asyncio.gather(*streams)
    whole = sorted(one.whole_s for one in times)
    pace = sum(one.chunks for one in times) / sum(whole)
    return [
        Row(
            f"memory of an open stream, {held_streams:,} held at {1000 // HELD_TOKEN_MS} chunks/s",
            f"{(held - before) * 1024 / held_streams:.0f} KiB, {pace:.1f} chunks/s seen each",
            aim="≤ 64 KiB",
        )
    ]


def _open_files() -> int:
    """Let this process and those that it starts open as many files as the machine allows; return how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


async def _counted(
    servers: Rig, call: Callable[[], Awaitable[Times]], callers: int, seconds: float
) -> tuple[Seen, float]:
    await call()
    before = servers.cpu_s()
    seen = await keep_busy(call, callers=callers, seconds=seconds)
    return seen, servers.cpu_s() - before
