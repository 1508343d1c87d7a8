"""Keeps a number of callers busy for a time, and sums up what they saw."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from bench.client import Times


class Seen(Struct, frozen=True):
    """What callers saw: how many calls a second, and every call's times."""

    per_second: float
    times: list[Times]

    def first_ms(self, quantile: float = 0.5) -> float:
        """Return the time to the first token in milliseconds."""
        return quantile_of([seen.first_s for seen in self.times], quantile) * 1000


def quantile_of(values: Sequence[float], quantile: float) -> float:
    """Return a quantile of some values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


async def keep_busy(call: Callable[[], Awaitable[Times]], *, callers: int, seconds: float) -> Seen:
    """Let `callers` call again and again for some seconds."""
    await call()
    times: list[Times] = []
    started = time.perf_counter()

    async def one() -> None:
        while time.perf_counter() - started < seconds:
            times.append(await call())

    await asyncio.gather(*(one() for _ in range(callers)))
    return Seen(len(times) / (time.perf_counter() - started), times)


async def median_ms(call: Callable[[], Awaitable[object]], *, times: int) -> float:
    """Return the median duration of a call, one after the other, in milliseconds."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000
