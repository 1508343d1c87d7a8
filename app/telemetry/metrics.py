"""Every metric of the API, named once, with its unit, its help and what its labels may say.

A label's values are a closed list, or come from the operator (model servers, models, projects), or from our own route
templates; none is a client's word or an id of what it made. What is closed is exported from the start, at zero, so
that the first trouble is a step that an alert sees.
"""

import time
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's; a second series of each, which nobody asks for
REGISTRY = CollectorRegistry()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

OPEN: tuple[str, ...] = ()
"""Stands for the values of a label that are bounded and not known here."""
OTHER = "other"
PROJECTS_LIMIT = 200

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
SURFACES = ("run", "response", "chat")
OUTCOMES = ("completed", "incomplete", "failed", "expired", "cancelled")
REFUSALS = ("missing", "unknown", "replaced", "revoked", "expired", "archived", "wrong_project", "scope")
BOUNDS = (
    "requests per min (RPM)",
    "tokens per min (TPM)",
    "tokens per day (TPD)",
    "tokens per month",
    "concurrent runs",
    "concurrent streams",
    "queue",
    "model server",
)
FAILURES = ("unreachable", "busy", "timed_out", "broke", "prompt_too_long", "unknown_model", "refused")
STATES = ("unasked", "up", "loading", "down")

REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
FIRST_TOKEN_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
BETWEEN_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
WAIT_BUCKETS = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)

M = TypeVar("M", bound=MetricWrapperBase)


def _made(kind: type[M], name: str, text: str, labels: dict[str, Sequence[str]], **options: Any) -> M:
    metric = kind(f"sovereign_{name}", text, tuple(labels), registry=REGISTRY, **options)
    if labels and all(labels.values()):
        for values in product(*labels.values()):
            metric.labels(*values)
    return metric


def _counter(name: str, text: str, **labels: Sequence[str]) -> Counter:
    return _made(Counter, name, text, labels)


def _gauge(name: str, text: str, **labels: Sequence[str]) -> Gauge:
    return _made(Gauge, name, text, labels)


def _histogram(name: str, text: str, buckets: Sequence[float], **labels: Sequence[str]) -> Histogram:
    return _made(Histogram, name, text, labels, buckets=buckets)


REQUESTS = _counter(
    "http_requests_total",
    "Requests answered; status `left` when the client went first.",
    method=OPEN,
    route=OPEN,
    status=OPEN,
)
REQUEST_SECONDS = _histogram(
    "http_request_duration_seconds",
    "From a request's head to the last byte of its answer; streams apart.",
    REQUEST_BUCKETS,
    route=OPEN,
    stream=("yes", "no"),
)
REQUESTS_IN_FLIGHT = _gauge("http_requests_in_flight", "Requests being answered now.")
STREAMS = _gauge("http_streams_active", "Streams being sent now.")
SLOW_CLIENTS = _counter("http_slow_clients_total", "Clients cut off because they did not send or read in time.")
AUTH_FAILURES = _counter("auth_failures_total", "Requests refused for their key.", reason=REFUSALS)
LIMIT_REFUSALS = _counter("limit_refusals_total", "Requests and runs refused by a limit.", bound=BOUNDS)

TURNS_OPEN = _gauge("turns_open", "Turns that a task carries out: running and waiting.")
TURNS_WAITING = _gauge("turns_waiting", "Turns that wait, for a slot or for the model server.")
TURN_SLOTS = _gauge("turn_slots", "Turns that run at once at most (RUN_CONCURRENCY).")
QUEUE_LIMIT = _gauge("turn_queue_limit", "Turns that wait at most (RUN_QUEUE_LIMIT).")
TURNS = _counter("turns_total", "Turns that ended.", surface=SURFACES[:2], outcome=OUTCOMES)
TURN_SECONDS = _histogram(
    "turn_duration_seconds",
    "From a turn's acceptance, or the outputs that it waited for, to where it rests.",
    REQUEST_BUCKETS,
    surface=SURFACES[:2],
)
QUEUE_SECONDS = _histogram(
    "turn_queue_wait_seconds", "From a turn's acceptance, or its return to the queue, to its start.", WAIT_BUCKETS
)
FIRST_TOKEN = _histogram(
    "first_token_seconds",
    "From a turn's acceptance, or a relayed request, to the first piece of the answer that its client is told.",
    FIRST_TOKEN_BUCKETS,
    surface=SURFACES,
)
BETWEEN_TOKENS = _histogram(
    "between_tokens_seconds",
    "Between two pieces of an answer as clients are told them.",
    BETWEEN_BUCKETS,
    surface=SURFACES,
)
TOKENS = _counter(
    "tokens_total", "Tokens as model servers counted them.", direction=("in", "out"), model=OPEN, project=OPEN
)
TOOL_ROUNDS = _counter("tool_rounds_total", "Answers that called tools.", surface=SURFACES[:2])
TRUNCATIONS = _counter("context_truncations_total", "Prompts from which older messages were left out.")
RECOVERIES = _counter("turn_recoveries_total", "Turns taken up that a stopped server had left.")

UPSTREAM_CALLS = _counter("upstream_calls_total", "Answers asked of a model server.", upstream=OPEN)
UPSTREAM_FAILURES = _counter("upstream_failures_total", "Of those, the failed ones.", upstream=OPEN, kind=FAILURES)
UPSTREAM_STATE = _gauge("upstream_state", "1 for how a model server is now, else 0.", upstream=OPEN, state=STATES)
UPSTREAM_ACTIVE = _gauge("upstream_in_flight", "Answers being asked of a model server now.", upstream=OPEN)
FAILOVERS = _counter("upstream_failovers_total", "Answers by another server than the preferred one.", upstream=OPEN)

TRANSACTIONS = _counter(
    "db_transactions_total", "Transactions.", kind=("read", "write"), outcome=("committed", "failed")
)
DB_BATCH = _histogram("db_batch_works", "Writes that shared a commit.", BATCH_BUCKETS)
DB_COMMIT = _histogram("db_commit_seconds", "One write transaction, begun to committed.", STORE_BUCKETS)
DB_CHECKPOINT = _histogram(
    "db_checkpoint_seconds", "Of those commits, the ones that also moved the WAL into the file.", STORE_BUCKETS
)
DB_WAITING = _gauge("db_writes_waiting", "Writes that wait for the writer.")
DB_BUSY = _counter("db_busy_total", "Transactions that failed because another process held the database.")
DB_FILE = _gauge("db_file_bytes", "Size of the database file.")
DB_WAL = _gauge("db_wal_bytes", "Size of its write-ahead log.")
DISK_FREE = _gauge("disk_free_bytes", "Room left where the database is.")
DISK_SIZE = _gauge("disk_size_bytes", "Size of that file system.")

LOOP_LAG = _histogram("event_loop_lag_seconds", "How late the event loop comes to what is due.", LAG_BUCKETS)
CLOCK_JUMPS = _counter("clock_jumps_total", "Times that the wall clock jumped by more than two seconds.")
VRAM_SHARE = _gauge("vram_share", "Share of the card that vLLM was given (VRAM_SHARE).")
BUILD = Info("sovereign_build", "What runs here.", registry=REGISTRY)

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)


class Known:
    """The values of a label that the operator bounds; others count as one."""

    def __init__(self, limit: int | None = None) -> None:
        """With a limit, whoever comes first is known until there are so many."""
        self._known: set[str] = set()
        self._limit = limit

    def are(self, values: Iterable[str]) -> None:
        """Say which there are."""
        self._known = set(values)

    def label(self, value: str) -> str:
        """Return a value as a label says it."""
        if value in self._known:
            return value
        if self._limit is None or len(self._known) >= self._limit:
            return OTHER
        self._known.add(value)
        return value


MODELS = Known()
PROJECTS = Known(PROJECTS_LIMIT)


def count_request(method: str, route: str, status: int, *, streamed: bool, seconds: float) -> None:
    """Count an answered request."""
    REQUESTS.labels(method if method in METHODS else OTHER, route, str(status) if status else "left").inc()
    REQUEST_SECONDS.labels(route, "yes" if streamed else "no").observe(seconds)


def know_upstream(name: str, state: str) -> None:
    """Tell of a model server from the start, before anything is asked of it."""
    UPSTREAM_CALLS.labels(name)
    FAILOVERS.labels(name)
    for kind in FAILURES:
        UPSTREAM_FAILURES.labels(name, kind)
    for one in STATES:
        UPSTREAM_STATE.labels(name, one).set(one == state)


def upstream_became(name: str, before: str, state: str) -> None:
    """Note that a model server is another way than before."""
    UPSTREAM_STATE.labels(name, before).set(0)
    UPSTREAM_STATE.labels(name, state).set(1)


def count_tokens(model: str, project: str, prompt: int, completion: int) -> None:
    """Count what an answer took. `model` is a name that MODELS gave."""
    project = PROJECTS.label(project)
    TOKENS.labels("in", model, project).inc(prompt)
    TOKENS.labels("out", model, project).inc(completion)


class Pieces:
    """Times the pieces of one answer as they are told."""

    __slots__ = ("_between", "_first", "_last")

    def __init__(self, surface: str, began: float | None = None) -> None:
        """`began` is when the answer was asked for, by the performance counter; by default now."""
        self._first: Histogram | None = FIRST_TOKEN.labels(surface)
        self._between: Histogram = BETWEEN_TOKENS.labels(surface)
        self._last = time.perf_counter() if began is None else began

    def told(self) -> None:
        """Note that a piece is told now."""
        now = time.perf_counter()
        if self._first is not None:
            self._first.observe(now - self._last)
            self._first = None
        else:
            self._between.observe(now - self._last)
        self._last = now


def exposition() -> bytes:
    """Return everything in Prometheus' text format."""
    return generate_latest(REGISTRY)


if __name__ == "__main__":
    print(exposition().decode(), end="")  # noqa: T201 - what `promtool check metrics` reads
