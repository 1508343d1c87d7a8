"""The stand-in's engine: slots, the queue for them, the pace of tokens, and the counting of both.

It knows when tokens are due, not what they say.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from msgspec import Struct

from ops.standin.config import StandinConfig
from ops.standin.metrics import Metrics
from ops.standin.refusals import refuse_full_queue

_CONTEXTS_IN_CACHE = 8  # the pretended KV cache holds this many full contexts


FinishReason = Literal["stop", "length"]


class Job(Struct, frozen=True):
    """The size of one request: its prompt, and its answer in steps of one token for each sequence."""

    prompt_tokens: int
    steps: int
    completion_tokens: int
    finish_reasons: list[FinishReason]


class Turn:
    """A job that has its slot: keeps the pace and counts the tokens as they come."""

    def __init__(self, job: Job, config: StandinConfig, metrics: Metrics, arrived: float) -> None:
        self._job = job
        self._metrics = metrics
        self._arrived = arrived
        self._token_s = config.token_ms / 1000
        self._last = time.perf_counter()
        self._first_due = self._last + config.first_token_ms / 1000

    async def wait_beyond(self, done: int) -> int:
        """Wait until more than `done` steps are due and tell how many are; several if the caller is slow."""
        now = await _sleep_until(self._first_due + done * self._token_s)
        ready = self._job.steps
        if self._token_s > 0:
            due = int((now - self._first_due) / self._token_s) + 1
            ready = min(ready, max(done + 1, due))
        self._count(done, ready, now)
        return ready

    async def finish(self) -> None:
        """Let the whole job pass."""
        done = 0
        while done < self._job.steps:
            done = await self.wait_beyond(done)

    def _count(self, done: int, ready: int, now: float) -> None:
        tokens, steps = self._job.completion_tokens, self._job.steps
        self._metrics.generation_tokens += tokens * ready // steps - tokens * done // steps
        if done == 0:
            self._metrics.first_token.observe(now - self._arrived)
        else:
            self._metrics.between_tokens.observe((now - self._last) / (ready - done), ready - done)
        self._last = now


class Engine:
    """Runs jobs: so many at once, the others wait their turn, and past the queue's limit they are refused."""

    def __init__(self, config: StandinConfig) -> None:
        self.metrics = Metrics(config.model)
        self.config = config
        self._slots = asyncio.Semaphore(config.max_num_seqs)
        self._running = 0
        self._waiting = 0
        self._held_tokens = 0

    def check_queue(self) -> None:
        """Refuse a request that would have to wait behind a full queue."""
        limit = self.config.max_queued
        if limit is not None and self._slots.locked() and self._waiting >= limit:
            self.metrics.rejections += 1
            raise refuse_full_queue()

    @asynccontextmanager
    async def run(self, job: Job) -> AsyncIterator[Turn]:
        """Hold a slot for a job; leaving early, as when the client goes away, frees it at once."""
        arrived = time.perf_counter()
        await self._take_slot()
        self.metrics.queue_time.observe(time.perf_counter() - arrived)
        self.metrics.prompt_tokens += job.prompt_tokens
        self._hold(job, 1)
        try:
            yield Turn(job, self.config, self.metrics, arrived)
            for reason in job.finish_reasons:
                self.metrics.finished[reason] += 1
            self.metrics.whole_request.observe(time.perf_counter() - arrived)
        finally:
            self._hold(job, -1)
            self._slots.release()

    async def complete(self, job: Job) -> None:
        """Run a job to its end."""
        async with self.run(job) as turn:
            await turn.finish()

    def read_gauges(self) -> dict[str, float]:
        """Read what is going on right now."""
        cache = _CONTEXTS_IN_CACHE * self.config.max_model_len
        return {
            "num_requests_running": self._running,
            "num_requests_waiting": self._waiting,
            "kv_cache_usage_perc": min(1.0, self._held_tokens / cache),
        }

    async def _take_slot(self) -> None:
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1

    def _hold(self, job: Job, sign: int) -> None:
        self._running += sign
        self._held_tokens += sign * (job.prompt_tokens + job.completion_tokens)


async def _sleep_until(due: float) -> float:
    """Sleep until a time of the performance counter and give the time; a time that has come costs nothing."""
    now = time.perf_counter()
    if due > now:
        await asyncio.sleep(due - now)
        now = time.perf_counter()
    return now
