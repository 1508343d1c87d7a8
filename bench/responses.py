"""What a response costs beside asking the model server itself, in the same run."""

from functools import partial

from bench.client import Client
from bench.load import keep_busy
from bench.rig import rig
from bench.scenarios import LONG, MIDDLE, SHORT, Call
from bench.table import Row

RIVAL = {1: 1_030, 32: 1_607}
"""Stored responses a second of a compiled server, measured with everything on a machine of two processors."""


async def responses(seconds: float) -> list[Row]:
    """Measure responses a second, the first token, and processor time of a delta."""
    return [*await _rate(seconds), *await _first_token(seconds), *await _deltas(seconds)]


async def _rate(seconds: float) -> list[Row]:
    rows = []
    with rig() as servers:
        async with Client(servers) as client:
            kinds: dict[str, Call] = {
                "stored responses": partial(client.plain_response, SHORT),
                "stored responses, streamed": partial(client.response, SHORT),
                "responses that are not stored": partial(client.plain_response, SHORT, store=False),
            }
            for what, call in kinds.items():
                for callers in (1, 32):
                    bare = await keep_busy(partial(client.direct, SHORT), callers=callers, seconds=seconds / 2)
                    await call()
                    before = servers.cpu_s()
                    ours = await keep_busy(call, callers=callers, seconds=seconds)
                    cpu_ms = (servers.cpu_s() - before) / len(ours.times) * 1000
                    figure = f"{ours.per_second:.0f}/s, {cpu_ms:.2f} ms CPU each"
                    aim = f"≥ {RIVAL[callers] // 2}/s" if what == "stored responses" else ""
                    rows.append(Row(f"{what}, {callers} callers", figure, f"{bare.per_second:.0f}/s", aim))
        rows.append(Row("memory of the API after these responses", f"{servers.memory_mb():.0f} MB"))
    return rows


async def _first_token(seconds: float) -> list[Row]:
    rows = []
    for callers, text, token_ms in ((1, SHORT, 1), (32, MIDDLE, 15)):
        with rig(token_ms=token_ms) as servers:
            async with Client(servers) as client:
                bare = await keep_busy(partial(client.direct, text), callers=callers, seconds=seconds)
                ours = await keep_busy(partial(client.response, text), callers=callers, seconds=seconds)
        added = ours.first_ms() - bare.first_ms()
        figure = f"{ours.first_ms():.2f} ms (p95 {ours.first_ms(0.95):.2f}), {added:+.2f} added"
        what = f"time to first token of a response, {callers} streams, a token each {token_ms} ms"
        rows.append(Row(what, figure, f"{bare.first_ms():.2f} ms"))
    return rows


async def _deltas(seconds: float) -> list[Row]:
    rows = []
    for callers, token_ms in ((8, 10), (8, 0)):
        with rig(token_ms=token_ms) as servers:
            async with Client(servers) as client:
                await client.response(LONG)
                before = servers.cpu_s()
                seen = await keep_busy(partial(client.response, LONG), callers=callers, seconds=seconds)
                cost = (servers.cpu_s() - before) / sum(times.chunks for times in seen.times) * 1e6
        pace = f"a token each {token_ms} ms" if token_ms else "unpaced"
        rows.append(Row(f"CPU per delta of a response, {callers} streams, {pace}", f"{cost:.1f} µs"))
    return rows
