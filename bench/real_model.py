"""What relaying costs where the model server is a real vLLM (CPU build, tiny model), asked directly in turns."""

import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from bench.client import Client, Times
from bench.load import keep_busy
from bench.rig import Rig, rig_over
from bench.table import Row
from tests.vllm import prepare
from tests.vllm.engine import MODEL, running_engine

STREAMS = 8
ROUNDS = 10
TOKENS = 128
ASKED = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Tell me a story"}],
    "temperature": 0,
    "stream": True,
    # Every answer is as long as every other: then answers a second are tokens a second.
    "max_tokens": TOKENS,
    "ignore_eos": True,
}
BRIEF = {**ASKED, "max_tokens": 8}

Call = Callable[[], Awaitable[Times]]


async def real_model(seconds: float) -> list[Row]:
    """Measure throughput at eight streams and the first chunk at one; a row that says so where no vLLM is prepared."""
    lacks = prepare.missing()
    if lacks:
        return [Row("relayed from a real vLLM", f"not measured: no {', no '.join(lacks)}; run {prepare.COMMAND}")]
    async with _before_vllm() as (servers, client):
        return [await _throughput(servers, client, seconds / 3), await _first_chunk(servers, client, seconds)]


@asynccontextmanager
async def _before_vllm() -> AsyncIterator[tuple[Rig, Client]]:
    with tempfile.TemporaryDirectory(prefix="sovereign-bench-") as name:
        folder = Path(name)
        with (
            running_engine(folder / "vllm.log") as engine,
            rig_over(engine.url, folder, key=engine.key, served=MODEL, MODEL_API_KEY=engine.key) as servers,
        ):
            async with Client(servers) as client:
                yield servers, client


async def _throughput(servers: Rig, client: Client, seconds: float) -> Row:
    """Let both carry the same load in turns. Each round begins with the one that the last round ended with."""
    direct, relayed = (partial(client.chat, url, ASKED) for url in (servers.model, servers.api))
    ratios, rates, cpu_s, chunks = [], [], 0.0, 0
    for number in range(ROUNDS):
        seen = {}
        for call in (direct, relayed) if number % 2 else (relayed, direct):
            before = servers.cpu_s()
            seen[call] = await keep_busy(call, callers=STREAMS, seconds=seconds)
            if call is relayed:
                cpu_s += servers.cpu_s() - before
                chunks += sum(times.chunks for times in seen[call].times)
        rates.append((seen[direct].per_second * TOKENS, seen[relayed].per_second * TOKENS))
        ratios.append(rates[-1][1] / rates[-1][0])
    bare, ours = (statistics.median(column) for column in zip(*rates, strict=True))
    spread = f"{min(ratios):.3f} to {max(ratios):.3f} in {ROUNDS} rounds, {cpu_s / chunks * 1e6:.0f} µs CPU a chunk"
    return Row(
        f"tokens a second from a real vLLM, relayed, {STREAMS} streams",
        f"{ours:.0f}/s, {statistics.median(ratios):.3f} of direct ({spread})",
        f"{bare:.0f}/s",
        "≥ 0.98 of direct",
    )


async def _first_chunk(servers: Rig, client: Client, seconds: float) -> Row:
    """Ask both in turns, one request at a time."""
    pairs: list[tuple[float, float]] = []

    async def pair() -> Times:
        bare, ours = [await client.chat(url, BRIEF) for url in (servers.model, servers.api)]
        pairs.append((bare.first_s * 1000, ours.first_s * 1000))
        return bare.then(ours)

    await keep_busy(pair, callers=1, seconds=seconds)
    bare_ms, ours_ms = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Row(
        "time to first chunk from a real vLLM, relayed, 1 stream",
        f"{ours_ms:.2f} ms, {ours_ms - bare_ms:+.2f} added",
        f"{bare_ms:.2f} ms",
        "≤ 1 ms added",
    )
