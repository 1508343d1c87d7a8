"""What it costs to be seen: metrics, and spans that nobody asked for, of a request and of a piece of an answer."""

import time
from collections.abc import Callable

from app.engine.events import TextAdded, TurnQueued
from app.engine.turn import Stamped, Turn, TurnSpec
from app.engine.watching import Watch
from app.telemetry import logs, metrics, tracing
from bench.table import Row

TIMES = 100_000
ROUNDS = 7
ROUTE = "/v1/threads/{thread_id}/runs"


async def telemetry(seconds: float) -> list[Row]:
    """Time what each request and each piece does for telemetry, the best of some rounds: others share the machine."""
    del seconds
    spec = TurnSpec(
        run_id="run_1",
        thread_id="thread_1",
        project_id="proj_1",
        assistant_id=None,
        fence=0,
        expires_at=0,
        model="llama",
        instructions="",
    )
    watch = Watch(Turn(spec, [Stamped(1, TurnQueued(at=0))]))
    told = [Stamped(2, TextAdded(text="word"))]
    pieces = metrics.Pieces("chat")
    return [
        Row("telemetry of a request", f"{_best_us(_request):.1f} µs", aim="≤ 20 µs"),
        Row("telemetry of a piece of a turn's answer", f"{_best_us(lambda: watch.saw(told)):.2f} µs", aim="≤ 2 µs"),
        Row("telemetry of a relayed piece", f"{_best_us(pieces.told):.2f} µs", aim="≤ 2 µs"),
        Row("all metrics, told once", f"{_best_us(metrics.exposition, 20) / 1000:.1f} ms"),
    ]


def _request() -> None:
    """Do what the edge and the layer of keys do for telemetry in a request, but for its log line, which was there."""
    metrics.REQUESTS_IN_FLIGHT.inc()
    logs.now_about(request_id="req_1")
    with tracing.span("request", kind="SERVER", attributes={"http.request.method": "POST"}):
        with tracing.span("auth"):
            pass
        metrics.REQUESTS_IN_FLIGHT.dec()
        metrics.STREAMS.dec(0)
        metrics.count_request("POST", ROUTE, 200, streamed=False, seconds=0.003)
        tracing.note({"http.route": ROUTE, "http.response.status_code": 200})


def _best_us(work: Callable[[], object], times: int = TIMES) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        for _ in range(times):
            work()
        best = min(best, (time.perf_counter_ns() - began) / times / 1000)
    return best
