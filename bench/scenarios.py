"""What is measured. Each scenario returns rows: what, figure, the bare model server's, and the aim."""

from collections.abc import Awaitable, Callable
from functools import partial

from bench.client import TOOL, Client, Times
from bench.load import keep_busy
from bench.rig import Rig, rig
from bench.table import Row

SHORT = "say exactly: gold rose on a weaker dollar and lower real yields today"
MIDDLE = "repeat 60 words"
LONG = "repeat 400 words"
TO_THE_TOOL = "what is the price of gold today"

Call = Callable[[], Awaitable[Times]]


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
    """Measure whole durable runs: thread, message, run and answer on disk, with an instant model.

    A run with a tool asks the model twice: it requires action, gets its output, and completes. So is the bare server.
    """
    with rig() as servers:
        async with Client(servers) as client:
            plain, equipped = await client.assistant(), await client.assistant(TOOL)
            straight, run = partial(client.direct, SHORT), partial(client.run, plain, SHORT)
            rows = [
                await _rate("durable runs", servers, straight, run, callers, seconds, aim)
                for callers, aim in ((1, ""), (16, "≥ 300/s"), (32, "≥ 300/s"))
            ]
            straight = partial(client.direct_with_tool, TO_THE_TOOL)
            run = partial(client.run_with_tool, equipped, TO_THE_TOOL)
            rows.append(await _rate("durable runs with a tool call", servers, straight, run, 16, seconds))
        rows.append(Row("memory of the API afterwards", f"{servers.memory_mb():.0f} MB"))
    return rows


async def _rate(what: str, servers: Rig, straight: Call, run: Call, callers: int, seconds: float, aim: str = "") -> Row:
    bare = await keep_busy(straight, callers=callers, seconds=seconds / 2)
    before = servers.cpu_s()
    ours = await keep_busy(run, callers=callers, seconds=seconds)
    cpu_ms = (servers.cpu_s() - before) / len(ours.times) * 1000
    figure = f"{ours.per_second:.0f}/s, {cpu_ms:.2f} ms CPU each"
    return Row(f"{what}, {callers} callers", figure, f"{bare.per_second:.0f}/s", aim)


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
