"""Owns the tasks of running turns: a bounded number at once, a bounded queue, a deadline for each.

A client that goes away does not matter here; recorder.py puts what happens on disk and tells it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Protocol

from app.engine.bus import Bus, Topic
from app.engine.events import (
    MessageCut,
    RunError,
    TokenUsage,
    TurnCancelled,
    TurnExpired,
    TurnFailed,
    TurnIncomplete,
    TurnRequeued,
    TurnStarted,
)
from app.engine.journal import Journal, LostRun
from app.engine.loop import run_turn
from app.engine.policy import (
    EarlyEnd,
    closing,
    pause_before_retry,
    poll_after_ms,
    room_for,
    spent_budget,
    used_since,
    what_to_ask,
)
from app.engine.prompt import BudgetTooSmall, Conversation, Prompt, Prompter, Upstream
from app.engine.recorder import Flusher, Recorder
from app.engine.slots import QUEUE_FULL_RETRY_S, Places, Slots
from app.engine.turn import Stamped, Turn, TurnSpec
from app.engine.watching import followed, trail
from app.errors import Unavailable
from app.inference.failures import ModelFailure, PromptTooLong
from app.kit.clock import Clock
from app.kit.tasks import TaskOwner
from app.telemetry import metrics, tracing

log = logging.getLogger(__name__)

LAST_WORDS_TIMEOUT_S = 5.0
ACCEPTANCE_POLL_S = 0.01
BUSY_POLL_S = 0.1
PROMPT_TRIES = 3

INTERNAL_FAULT = RunError("server_error", "The server had an error while it carried out the run.")


class Models(Protocol):
    """Finds the server for a model's name. Raises ModelFailure."""

    async def upstream(self, name: str) -> Upstream:
        """Resolve a name that a client used."""
        ...


class Charge(Protocol):
    """What was reserved of somebody's limits for a turn. Whoever submits the turn may give one."""

    def settle(self, prompt_tokens: int, completion_tokens: int, *, runs: int) -> None:
        """End with what was used; `runs` is 0 when the run goes on later. Called again, it does nothing."""
        ...


class Place:
    """A reserved place, to be used once a run is committed. `starts` tells that it comes with a slot."""

    def __init__(self, executor: "Executor", project_id: str, *, starts: bool) -> None:
        self.starts = starts
        self._executor = executor
        self._project_id = project_id
        self._held = True

    def submit(self, spec: TurnSpec, accepted: list[Stamped], charge: Charge | None = None) -> Topic:
        """Hand over a committed run; return the topic that tells of it."""
        self._held = False
        self._executor.reserved -= 1
        return self._executor.carry_out(spec, accepted, has_slot=self.starts, charge=charge)

    def release(self) -> None:
        """Give the place back, if no run was submitted."""
        if self._held:
            self._held = False
            self._executor.reserved -= 1
            self._executor.places.leave(self._project_id)
            if self.starts:
                self._executor.slots.give(self._project_id)


class Executor:
    """Runs turns. Construct with its parts, `reserve` and `submit` runs, `stop` before the database closes."""

    def __init__(
        self,
        *,
        models: Models,
        conversation: Conversation,
        journal: Journal,
        bus: Bus,
        clock: Clock,
        concurrency: int,
        queue_limit: int,
        flush_s: float,
        context_messages: int,
    ) -> None:
        self._models = models
        self._journal = journal
        self._bus = bus
        self._clock = clock
        self.slots = Slots(concurrency)
        self.places = Places(concurrency + queue_limit)
        self._concurrency = concurrency
        self._conversation = conversation
        self._owner = TaskOwner()
        self._prompter = Prompter(conversation, context_messages, self._keep_counts)
        self._flusher = Flusher(journal, flush_s)
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._waiting: set[str] = set()
        self._cancelled: set[str] = set()
        self._stopping = False
        self.reserved = 0
        metrics.TURN_SLOTS.set(concurrency)
        metrics.QUEUE_LIMIT.set(queue_limit)

    def reserve(self, project_id: str) -> Place:
        """Take a place for a run that is about to be committed. Raises RateLimited when the queue is full."""
        if self._stopping:
            raise Unavailable("The server is stopping. Try again in a moment.", retry_after_s=QUEUE_FULL_RETRY_S)
        self.places.enter(project_id)
        self.reserved += 1
        return Place(self, project_id, starts=self.slots.try_take(project_id))

    def resume(self, spec: TurnSpec, journalled: list[Stamped], charge: Charge | None = None) -> None:
        """Take up a run that a stopped process left behind, whatever the length of the queue."""
        metrics.RECOVERIES.inc()
        self.places.enter_whatever(spec.project_id)
        self.carry_out(spec, journalled, has_slot=False, charge=charge)

    @property
    def stopping(self) -> bool:
        """Tell whether nothing is begun here any more."""
        return self._stopping

    def poll_after_ms(self) -> int:
        """Return after how many milliseconds it is worth asking for a run's state again."""
        return poll_after_ms(self.places.taken, self._concurrency)

    def carry_out(
        self, spec: TurnSpec, journalled: list[Stamped], *, has_slot: bool, charge: Charge | None = None
    ) -> Topic:
        """Start the task of a run whose events so far are these."""
        topic = self._bus.open(spec.run_id, journalled)
        turn = Turn(spec, journalled)
        if not self._flusher.started:
            self._owner.start(self._flusher.run(), name="text flusher")
        settle = partial(_settle, charge, turn, turn.usage)
        work = partial(self._until_over, turn, topic, has_slot, settle)
        task = self._owner.start(followed(trail(), spec, work), name=f"run {spec.run_id}")
        self._running[spec.run_id] = task
        metrics.TURNS_OPEN.inc()
        task.add_done_callback(lambda over: self._over(spec, over, topic))
        task.add_done_callback(lambda _: settle())
        return topic

    def topic(self, run_id: str) -> Topic | None:
        """Return where a run's events are told, None when no task carries it out."""
        return self._bus.topic(run_id)

    def _over(self, spec: TurnSpec, over: "asyncio.Task[Any]", topic: Topic) -> None:
        topic.end()
        metrics.TURNS_OPEN.dec()
        self.places.leave(spec.project_id)
        if self._running.get(spec.run_id) is over:  # outputs may have come before the task that asked for them was over
            del self._running[spec.run_id]
            self._cancelled.discard(spec.run_id)
            self._bus.close(spec.run_id)

    def abandon(self, run_id: str) -> None:
        """Stop a run whose thread was deleted, or that nobody can read any more, and free the model server."""
        task = self._running.get(run_id)
        if task is not None:
            self._cancelled.add(run_id)  # what the model has said by now counts, as when it is cancelled
            # Not at once: a task that is cancelled before its first turn never gives its slot back.
            asyncio.get_running_loop().call_soon(task.cancel)

    async def stop(self, grace_s: float) -> None:
        """Let turns end for `grace_s` seconds, also those just being accepted; leave the rest to the next start.

        Turns that wait, for a slot or for the model server, are not waited for.
        """
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while (busy := self._busy()) or self.reserved:
                    if busy:
                        await asyncio.wait(busy, timeout=BUSY_POLL_S, return_when=asyncio.FIRST_COMPLETED)
                    else:
                        await asyncio.sleep(ACCEPTANCE_POLL_S)
        await self._owner.close(timeout_s=LAST_WORDS_TIMEOUT_S)

    def _busy(self) -> list["asyncio.Task[Any]"]:
        return [task for run_id, task in self._running.items() if run_id not in self._waiting]

    async def cancel(self, run_id: str) -> bool:
        """End a run as cancelled and free the model server; False when no task of ours carries it out."""
        await asyncio.sleep(0)  # a task that is cancelled before its first turn would do nothing at all
        task = self._running.get(run_id)
        if task is None or task.done():
            return False
        if run_id not in self._cancelled:  # a second call would cut the first one's last words short
            self._cancelled.add(run_id)
            task.cancel()
        await asyncio.wait([task], timeout=LAST_WORDS_TIMEOUT_S)
        return True

    async def _until_over(self, turn: Turn, topic: Topic, has_slot: bool, settle: Callable[[], None]) -> None:
        keeps = (self._journal, self._flusher) if turn.spec.recorded else None
        recorder = Recorder(turn, topic, keeps, on_rest=settle)
        try:
            await self._in_time(turn, recorder, has_slot)
        except LostRun:
            log.info("run was taken or deleted while it ran")
        except ModelFailure as failure:
            await self._fail(recorder, RunError(failure.code, failure.message))
        except TimeoutError:
            await self._close(recorder, "run_expired", TurnExpired(at=self._clock.now(), usage=turn.usage))
        except asyncio.CancelledError:
            if turn.spec.run_id not in self._cancelled:
                await self._give_up_attempt(recorder)
                raise
            await self._close(recorder, "run_cancelled", TurnCancelled(at=self._clock.now(), usage=turn.usage))
        except Exception:
            log.exception("a run met a fault of ours", extra={"run_id": turn.spec.run_id})
            await self._fail(recorder, INTERNAL_FAULT)

    async def _in_time(self, turn: Turn, recorder: Recorder, has_slot: bool) -> None:
        """Run a turn under its deadline. A record that has begun is finished even when the deadline passes."""
        left_s = turn.spec.expires_at - self._clock.now()
        async with asyncio.timeout(left_s):
            tries: Counter[type[ModelFailure]] = Counter()
            while True:
                if not has_slot:
                    await self._wait(turn, self.slots.take(turn.spec.project_id))
                try:
                    if turn.status == "queued":
                        await recorder.record((TurnStarted(at=self._clock.now()),))
                    await self._ask(turn, recorder)
                    return
                except ModelFailure as failure:
                    tries[type(failure)] += 1  # a long wait for a server leaves the few tries at a full one
                    pause_s = None if turn.produced else pause_before_retry(failure, tries[type(failure)])
                    if pause_s is None:
                        raise
                    await recorder.record((TurnRequeued(at=self._clock.now()),))
                finally:
                    self.slots.give(turn.spec.project_id)
                has_slot = False
                await self._wait(turn, asyncio.sleep(pause_s))

    async def _wait(self, turn: Turn, until: Coroutine[Any, Any, None]) -> None:
        """Wait for something outside, noted so that a stop need not wait for it, too."""
        self._waiting.add(turn.spec.run_id)
        metrics.TURNS_WAITING.inc()
        try:
            with tracing.span("queue"):
                await until
        finally:
            metrics.TURNS_WAITING.dec()
            self._waiting.discard(turn.spec.run_id)

    async def _ask(self, turn: Turn, recorder: Recorder) -> None:
        """Ask the model once. A prompt that the server finds too long is made smaller, where it can be."""
        upstream = await self._models.upstream(turn.spec.model)
        room = room_for(turn, upstream.window)
        spent = spent_budget(turn)
        if spent is not None:
            await recorder.record((TurnIncomplete(at=self._clock.now(), reason=spent, usage=turn.usage),))
            return
        for refused in range(PROMPT_TRIES):
            try:
                prompt = await self._prompter.prompt(turn.spec, upstream, room, refused=refused)
            except BudgetTooSmall:
                over = TurnIncomplete(at=self._clock.now(), reason="max_prompt_tokens", usage=turn.usage)
                await recorder.record((over,))
                return
            try:
                await self._call(turn, recorder, upstream, prompt)
                return
            except PromptTooLong:
                if not prompt.can_shrink or refused == PROMPT_TRIES - 1:
                    raise

    async def _call(self, turn: Turn, recorder: Recorder, upstream: Upstream, prompt: Prompt) -> None:
        turn.asked = prompt.messages
        asked = what_to_ask(turn, upstream.window, prompt.tokens)
        call = run_turn(asked, upstream.name, prompt.messages, upstream.model, self._clock, used=turn.usage)
        async with aclosing(call) as batches:
            async for batch in batches:
                await recorder.record(batch)

    def _keep_counts(self, model: str, counts: dict[str, int]) -> None:
        self._owner.start(self._conversation.remember(model, counts), name="keep token counts")

    async def _give_up_attempt(self, recorder: Recorder) -> None:
        """Leave a run to the next process: queued again, from its committed input."""
        if recorder.turn.status == "in_progress":
            with suppress(LostRun, Unavailable):
                await recorder.record((TurnRequeued(at=self._clock.now()),))

    async def _fail(self, recorder: Recorder, error: RunError) -> None:
        failed = TurnFailed(at=self._clock.now(), error=error, usage=recorder.turn.usage)
        await self._close(recorder, "run_failed", failed)

    async def _close(self, recorder: Recorder, reason: MessageCut, end: EarlyEnd) -> None:
        """End a turn early, in its own transaction, also when the task is being cancelled."""
        turn = recorder.turn
        if turn.ended:
            return
        try:
            await recorder.record(closing(turn, reason, end))
        except LostRun:
            log.info("run was deleted while it ran")


def _settle(charge: Charge | None, turn: Turn, before: TokenUsage) -> None:
    if charge is not None:
        used = used_since(turn, before)
        charge.settle(used.prompt_tokens, used.completion_tokens, runs=int(turn.ended))
