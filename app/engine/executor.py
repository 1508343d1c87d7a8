"""Owns the tasks of running turns: a bounded number at once, a bounded queue, a deadline for each.

Each batch of events goes to the journal first and is then told on the bus; text is told at once and journalled
a few times a second. A client that goes away does not matter here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Protocol

from msgspec import Struct

from app.engine.bus import Bus, Topic
from app.engine.context import PastMessage, build_prompt
from app.engine.events import (
    MessageCut,
    MessageStopped,
    RunError,
    TextAdded,
    TurnEvent,
    TurnExpired,
    TurnFailed,
    TurnStarted,
)
from app.engine.journal import Journal, LostRun
from app.engine.loop import Batch, run_turn
from app.engine.turn import Stamped, Turn, TurnSpec
from app.errors import RateLimited, Unavailable
from app.inference.client import ChatModel
from app.inference.failures import ModelFailure
from app.kit.clock import Clock
from app.kit.tasks import TaskOwner

log = logging.getLogger(__name__)

QUEUE_FULL_RETRY_S = 5
STORAGE_RETRIES_S = (0.1, 0.5, 2.0)
LAST_WORDS_TIMEOUT_S = 5.0

SERVER_STOPPED = RunError("server_error", "The server was stopped before the run ended.")
SERVER_RESTARTED = RunError("server_error", "The server was restarted while the run was in progress.")
INTERNAL_FAULT = RunError("server_error", "The server had an error while it carried out the run.")


class Upstream(Struct, frozen=True):
    """Where a model's name leads: a server, the name it knows, and its context window in tokens."""

    model: ChatModel
    name: str
    window: int | None


class Models(Protocol):
    """Finds the server for a model's name. Raises ModelFailure."""

    async def upstream(self, name: str) -> Upstream:
        """Resolve a name that a client used."""
        ...


History = Callable[[str, int], Awaitable[list[PastMessage]]]
"""Reads the newest n messages of a thread, oldest first."""


class Place:
    """A reserved place in the queue, to be used once a run is committed."""

    def __init__(self, executor: "Executor") -> None:
        self._executor = executor
        self._held = True

    def submit(self, spec: TurnSpec, accepted: list[Stamped]) -> Topic:
        """Queue a committed run; return the topic that tells of it."""
        self.release()
        return self._executor.resume(spec, accepted)

    def release(self) -> None:
        """Give the place back, if it is still held."""
        if self._held:
            self._held = False
            self._executor.reserved -= 1


class Executor:
    """Runs turns. Construct with its parts, `reserve` and `submit` runs, `stop` before the database closes."""

    def __init__(
        self,
        *,
        models: Models,
        history: History,
        journal: Journal,
        bus: Bus,
        clock: Clock,
        concurrency: int,
        queue_limit: int,
        flush_s: float,
        context_messages: int,
    ) -> None:
        self._models = models
        self._history = history
        self._journal = journal
        self._bus = bus
        self._clock = clock
        self._slots = asyncio.Semaphore(concurrency)
        self._limit = concurrency + queue_limit
        self._flush_s = flush_s
        self._context_messages = context_messages
        self._owner = TaskOwner()
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._stopping = False
        self.reserved = 0

    def reserve(self) -> Place:
        """Take a place for a run that is about to be committed. Raises RateLimited when the queue is full."""
        if self._stopping:
            raise Unavailable("The server is stopping. Try again in a moment.", retry_after_s=QUEUE_FULL_RETRY_S)
        if len(self._running) + self.reserved >= self._limit:
            raise RateLimited(
                "Rate limit reached: too many runs are waiting for the model. Try again in a few seconds.",
                code="rate_limit_exceeded",
                retry_after_s=QUEUE_FULL_RETRY_S,
            )
        self.reserved += 1
        return Place(self)

    def resume(self, spec: TurnSpec, journalled: list[Stamped]) -> Topic:
        """Take up a run whose events so far are these, whatever the length of the queue."""
        topic = self._bus.open(spec.run_id, journalled)
        turn = Turn(spec, journalled)
        task = self._owner.start(self._carry_out(turn, topic), name=f"run {spec.run_id}")
        self._running[spec.run_id] = task
        task.add_done_callback(lambda _: self._over(spec.run_id))
        return topic

    def _over(self, run_id: str) -> None:
        self._running.pop(run_id, None)
        self._bus.close(run_id)

    def abandon(self, run_id: str) -> None:
        """Stop a run whose thread was deleted: nothing of it is kept, and the model server is freed."""
        task = self._running.get(run_id)
        if task is not None:
            task.cancel()

    async def stop(self, grace_s: float) -> None:
        """Let running turns end for `grace_s` seconds, then end the rest as failed."""
        self._stopping = True
        tasks = list(self._running.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        await self._owner.close(timeout_s=LAST_WORDS_TIMEOUT_S)

    async def _carry_out(self, turn: Turn, topic: Topic) -> None:
        recorder = _Recorder(turn, topic, self._journal, self._flush_s)
        try:
            if turn.status != "queued":
                await self._fail(recorder, SERVER_RESTARTED)
                return
            await self._until_ended(turn, recorder)
        except LostRun:
            log.info("run was taken or deleted while it ran", extra={"run_id": turn.spec.run_id})
        except ModelFailure as failure:
            await self._fail(recorder, RunError(failure.code, failure.message))
        except TimeoutError:
            await self._close(recorder, "run_expired", TurnExpired(at=self._clock.now()))
        except asyncio.CancelledError:
            await self._fail(recorder, SERVER_STOPPED)
            raise
        except Exception:
            log.exception("a run met a fault of ours", extra={"run_id": turn.spec.run_id})
            await self._fail(recorder, INTERNAL_FAULT)

    async def _until_ended(self, turn: Turn, recorder: "_Recorder") -> None:
        spec = turn.spec
        deadline = asyncio.get_running_loop().time() + spec.expires_at - self._clock.now()
        async with asyncio.timeout_at(deadline):
            await self._slots.acquire()
        try:
            async with asyncio.timeout_at(deadline):
                upstream = await self._models.upstream(spec.model)
                history = await self._history(spec.thread_id, spec.last_messages or self._context_messages)
            prompt = build_prompt(spec.instructions, history, upstream.window)
            async with aclosing(run_turn(spec, upstream.name, prompt, upstream.model, self._clock)) as batches:
                while not turn.ended:
                    async with asyncio.timeout_at(deadline):
                        batch = await anext(batches)
                    await recorder.record(batch)
        finally:
            self._slots.release()

    async def _fail(self, recorder: "_Recorder", error: RunError) -> None:
        await self._close(recorder, "run_failed", TurnFailed(at=self._clock.now(), error=error))

    async def _close(self, recorder: "_Recorder", reason: MessageCut, end: TurnFailed | TurnExpired) -> None:
        """End a turn early, in its own transaction, also when the task is being cancelled."""
        turn = recorder.turn
        if turn.ended:
            return
        events: list[TurnEvent] = []
        if turn.status == "queued" and isinstance(end, TurnFailed):
            events.append(TurnStarted(at=end.at))
        if turn.message_open:
            error = end.error if isinstance(end, TurnFailed) else None
            events.append(MessageStopped(at=end.at, reason=reason, error=error))
        try:
            await asyncio.shield(recorder.record((*events, end)))
        except LostRun:
            log.info("run was deleted while it ran", extra={"run_id": turn.spec.run_id})
        log.warning("run ended early", extra={"run_id": turn.spec.run_id, "status": turn.status, "reason": reason})


class _Recorder:
    """Journals and tells the events of one turn, in order."""

    def __init__(self, turn: Turn, topic: Topic, journal: Journal, flush_s: float) -> None:
        self.turn = turn
        self._topic = topic
        self._journal = journal
        self._flush_s = flush_s
        self._pending: list[Stamped] = []
        self._flushing: asyncio.Task[None] | None = None
        self._now = asyncio.get_running_loop().time
        self._flushed_at = self._now()

    async def record(self, batch: Batch) -> None:
        """Take a batch: text is told at once, anything else once it is on disk. Raises LostRun."""
        stamped = self.turn.stamp(batch)
        self._pending += stamped
        if all(isinstance(event, TextAdded) for event in batch):
            self._topic.publish(stamped)
            if self._flushing is None and self._now() - self._flushed_at >= self._flush_s:
                self._flushing = asyncio.create_task(self._write())
            elif self._flushing is not None and self._flushing.done():
                await self._flushed()
            return
        if self._flushing is not None:
            await self._flushed()
        await self._write()
        self._topic.publish(stamped)

    async def _flushed(self) -> None:
        """Wait for the flush under way, and raise what it met."""
        flushing, self._flushing = self._flushing, None
        if flushing is not None:
            await flushing

    async def _write(self) -> None:
        """Put what is pending on disk; a storage that fails is asked again a few times."""
        events, self._pending = self._pending, []
        for pause_s in (*STORAGE_RETRIES_S, None):
            try:
                await self._journal.append(self.turn, events)
                break
            except Unavailable:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
        self._topic.durable_seq = events[-1].seq
        self._flushed_at = self._now()
