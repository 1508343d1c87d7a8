"""Rules of runs: accepted in one transaction, carried out by the engine, followed by whoever reads."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from msgspec import Struct, json
from msgspec.structs import replace
from sqlalchemy import Row

from app.db.database import Database, ReadTx, WriteTx
from app.engine.bus import Topic
from app.engine.context import Told
from app.engine.events import OutputsSubmitted, TurnCancelled, TurnExpired
from app.engine.executor import Executor
from app.engine.follow import follow
from app.engine.journal import Journal, LostRun
from app.engine.lifecycle import ENDED
from app.engine.turn import Stamped, TurnSpec
from app.engine.watching import ended_at_rest
from app.errors import ApiError, InvalidRequest
from app.inference.tokens import CHARACTERS_PER_TOKEN
from app.keys.grant import BOOTSTRAP_KEY
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.kit.pages import Page, PageQuery
from app.limits.allowance import Allowance
from app.limits.limiter import Limiter
from app.messages.history import past_of_new
from app.messages.repository import MessageReader
from app.runs.acceptance import USUAL_ANSWER_TOKENS, Accept, Acceptance
from app.runs.columns import input_of
from app.runs.lease import Lease
from app.runs.rendering import RunStream, as_created
from app.runs.repository import TAKEN_AT_ONCE, RunReader, RunWriter, expire, overdue, requeue
from app.runs.rows import run_of
from app.runs.schemas import CreateRun, CreateThreadAndRun, Run, RunStep, SubmitOutputs, UpdateRun
from app.threads.repository import ThreadWriter
from app.threads.schemas import CreateThread, Thread
from app.web.errors import error_event
from app.web.events import DONE, PING, Last, frame

log = logging.getLogger(__name__)

EXPIRE_EVERY_S = 1.0
BROKEN_OFF = "The run's events end here: the server is stopping, or the run was deleted. Ask for the run's state."

Written = tuple[Row[Any], list[Stamped]]


class StartedRun(Struct, frozen=True, kw_only=True):
    """A run that goes on, and where its events are told; `seen` of them are told already."""

    run: Run
    topic: Topic
    past: list[Stamped]
    seen: int = 0
    thread: Thread | None = None


class RunService:
    """Starts, lists and follows runs."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        executor: Executor,
        journal: Journal,
        limiter: Limiter,
        lease: Lease,
        *,
        expires_after_s: int,
        ping_s: float,
        context_messages: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._executor = executor
        self._journal = journal
        self._limiter = limiter
        self._lease = lease
        self._acceptance = Acceptance(database, executor)
        self._context_messages = context_messages
        self._expires_after_s = expires_after_s
        self._ping_s = ping_s

    async def create(self, caller: Caller, allowance: Allowance, thread_id: str, body: CreateRun) -> StartedRun:
        """Accept a run over a thread and hand it to the executor. Raises RateLimited."""
        wanted = input_of(body, self._expires_after_s)
        messages = body.additional_messages or []
        at = self._clock.now()

        def accept(tx: WriteTx, starts: bool) -> Written:
            return self._accepting(tx, caller).accept(thread_id, wanted, messages, at, starts=starts)

        estimate = await self._estimate(caller, allowance, thread_id, messages, body)
        return await self._start(caller, allowance, estimate, accept)

    async def create_with_thread(self, caller: Caller, allowance: Allowance, body: CreateThreadAndRun) -> StartedRun:
        """Create a thread and accept a run over it, in one transaction. Raises RateLimited."""
        wanted = input_of(body, self._expires_after_s)
        at = self._clock.now()
        shown = _messages_shown(body) or self._context_messages
        made: list[Thread] = []
        said: list[Told] = []  # all there is: it need not be read back

        def accept(tx: WriteTx, starts: bool) -> Written:
            thread, messages = ThreadWriter(tx, caller).create(body.thread or CreateThread(), at)
            made[:], said[:] = [thread], [past_of_new(one) for one in messages[-shown:]]
            return self._accepting(tx, caller).accept(thread.id, wanted, [], at, starts=starts)

        first = body.thread.messages if body.thread is not None else None
        estimate = await self._estimate(caller, allowance, None, first or [], body)
        started = await self._start(caller, allowance, estimate, accept, said)
        return replace(started, thread=made[0])

    async def submit_outputs(
        self, caller: Caller, allowance: Allowance, thread_id: str, run_id: str, body: SubmitOutputs
    ) -> StartedRun:
        """Take the outputs that a run waits for and hand it to the executor again. Raises RateLimited."""
        at = self._clock.now()

        def submit(tx: WriteTx, starts: bool) -> Written:
            return self._accepting(tx, caller).submit(thread_id, run_id, body.tool_outputs, at, starts=starts)

        estimate = await self._estimate(caller, allowance, thread_id, body.tool_outputs)
        started = await self._start(caller, allowance, estimate, submit)
        newest = next(stamped.seq for stamped in reversed(started.past) if isinstance(stamped.event, OutputsSubmitted))
        return replace(started, seen=newest - 1)

    async def cancel(self, caller: Caller, thread_id: str, run_id: str) -> Run:
        """Stop a run, wherever it stands; its answer so far is kept. Raises InvalidRequest when it has ended."""
        at = self._clock.now()
        row = await self._database.write(lambda tx: RunWriter(tx, caller).begin_cancel(thread_id, run_id, at))
        if not await self._executor.cancel(run_id):
            spec = await self._database.write(lambda tx: RunWriter(tx, caller).cancel(thread_id, run_id, at))
            if spec is not None:
                ended_at_rest(spec, TurnCancelled)
        run = await self.retrieve(caller, thread_id, run_id)
        if run.status not in ("cancelled", "cancelling"):
            raise InvalidRequest(f"Cannot cancel run with status '{run.status}'.")
        return replace(run, status="cancelling", cancelled_at=None, usage=None, expires_at=row.expires_at)

    def _accepting(self, tx: WriteTx, caller: Caller) -> RunWriter:
        return RunWriter(tx, caller, owner=self._lease.server)

    async def _estimate(
        self,
        caller: Caller,
        allowance: Allowance,
        thread_id: str | None,
        added: Sequence[object],
        body: CreateRun | CreateThreadAndRun | None = None,
    ) -> int:
        """Return roughly what a run will use, prompt and answer; nothing where no limit asks. Raises NotFound."""
        if not allowance.counts_tokens:
            return 0
        tokens = len(json.encode(added)) // CHARACTERS_PER_TOKEN
        tokens += (body.max_completion_tokens if body is not None else None) or USUAL_ANSWER_TOKENS
        project_id, count = caller.project_id, _messages_shown(body) or self._context_messages

        def weigh(tx: ReadTx) -> int:
            said = 0 if thread_id is None else MessageReader(tx, project_id).weight(thread_id, count)
            told = 0 if body is None else RunReader(tx, project_id).characters_told(body)
            return said + told // CHARACTERS_PER_TOKEN

        return tokens + await self._database.read(weigh)

    async def _start(
        self,
        caller: Caller,
        allowance: Allowance,
        estimate: int,
        accept: Accept,
        said: Sequence[Told] | None = None,
    ) -> StartedRun:
        accepted = await self._acceptance.commit(caller, allowance, estimate, accept, said)
        return StartedRun(run=as_created(run_of(accepted.row)), topic=accepted.topic, past=accepted.past)

    def poll_after_ms(self, run: Run) -> int | None:
        """Return after how many milliseconds it is worth asking for a run again, None when it has ended."""
        return None if run.status in ENDED else self._executor.poll_after_ms()

    async def stream(self, started: StartedRun) -> AsyncGenerator[bytes, None]:
        """Render a started run's events as they happen."""
        stream = RunStream(started.run)
        stream.feed([stamped for stamped in started.past if stamped.seq <= started.seen])
        frames = b"" if started.thread is None else frame(b"thread.created", json.encode(started.thread))
        reader = follow(self._journal, started.run.id, started.topic, after=started.seen, ping_s=self._ping_s)
        async for events in reader:
            frames += stream.feed(events) if events else PING
            if not (events and _rests(stream.run)):  # what ends it goes out once the run has let go of its place
                yield frames
                frames = b""
        yield Last(frames + _last_frames(stream))

    async def events(self, caller: Caller, thread_id: str, run_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """Render a run's events above a number: what was, then what comes. Raises NotFound, and InvalidRequest once
        the events of an ended run are no longer kept.
        """
        row = await self._database.read(lambda tx: RunReader(tx, caller.project_id).require(thread_id, run_id))
        topic = self._executor.topic(run_id)
        if topic is None and not await self._journal.events_after(run_id, 0):
            raise InvalidRequest(f"The events of run {run_id} are no longer kept.", code="events_expired")
        return self._numbered(replace(as_created(run_of(row)), expires_at=row.expires_at), topic, after)

    async def _numbered(self, run: Run, topic: Topic | None, after: int) -> AsyncGenerator[bytes, None]:
        stream = RunStream(run)
        async for events in follow(self._journal, run.id, topic, ping_s=self._ping_s):
            frames = stream.feed_numbered(events, after) if events else PING
            if frames:
                yield frames
        yield _last_frames(stream)

    async def page(self, caller: Caller, thread_id: str, query: PageQuery) -> Page[Run]:
        """List a thread's runs."""
        return await self._database.read(lambda tx: RunReader(tx, caller.project_id).page(thread_id, query))

    async def retrieve(self, caller: Caller, thread_id: str, run_id: str) -> Run:
        """Return one run."""
        return run_of(await self._database.read(lambda tx: RunReader(tx, caller.project_id).require(thread_id, run_id)))

    async def update(self, caller: Caller, thread_id: str, run_id: str, body: UpdateRun) -> Run:
        """Replace a run's metadata."""
        if not isinstance(body.metadata, dict | None):
            return await self.retrieve(caller, thread_id, run_id)
        metadata, at = body.metadata or {}, self._clock.now()
        row = await self._database.write(lambda tx: RunWriter(tx, caller).set_metadata(thread_id, run_id, metadata, at))
        return run_of(row)

    async def steps(self, caller: Caller, thread_id: str, run_id: str, query: PageQuery) -> Page[RunStep]:
        """List a run's steps."""
        return await self._database.read(lambda tx: RunReader(tx, caller.project_id).steps(thread_id, run_id, query))

    async def step(self, caller: Caller, thread_id: str, run_id: str, step_id: str) -> RunStep:
        """Return one step."""
        return await self._database.read(lambda tx: RunReader(tx, caller.project_id).step(thread_id, run_id, step_id))

    async def take_up_unended(self) -> int:
        """Bring the runs that stopped processes left behind to where they can go on; return how many were found."""
        rows: Sequence[Row[Any]] = await self._database.read(self._lease.left_behind)
        for row in rows:
            if self._executor.stopping:
                break
            again = partial(requeue, row=row, owner=self._lease.server, at=self._clock.now())
            try:
                taken = await self._database.write(again)
            except LostRun:  # another server that looks at this moment was faster, or its thread was deleted
                continue
            if taken is not None and not self._executor.stopping:
                spec, past = taken
                charge = self._limiter.resume_run(spec.key_id or BOOTSTRAP_KEY, spec.project_id)
                self._executor.resume(spec, past, charge)
        return len(rows)

    async def keep_taking_up(self) -> None:
        """Take up what other servers leave behind, until cancelled or until this one stops."""
        while not self._executor.stopping:
            found = 0
            try:
                found = await self.take_up_unended()
            except ApiError:
                log.warning("runs of other servers could not be looked for; trying again")
            except Exception:
                log.exception("a fault of ours kept runs of other servers from being taken up; trying again")
            if found < TAKEN_AT_ONCE:
                await asyncio.sleep(self._lease.times.look_s)

    async def expire_waiting(self) -> int:
        """End the runs that waited too long for outputs; return how many."""
        at = self._clock.now()
        rows = await self._database.read(lambda tx: overdue(tx, at))

        def expire_all(tx: WriteTx) -> list[TurnSpec | None]:
            return [expire(tx, row, at) for row in rows]

        for spec in await self._database.write(expire_all) if rows else ():
            if spec is not None:
                ended_at_rest(spec, TurnExpired)
        return len(rows)

    async def keep_expiring(self) -> None:
        """Expire runs until cancelled."""
        while True:
            try:
                await self.expire_waiting()
            except ApiError:
                log.warning("overdue runs could not be expired; trying again")
            await asyncio.sleep(EXPIRE_EVERY_S)


def _rests(run: Run) -> bool:
    return run.status in ENDED or run.required_action is not None


def _last_frames(stream: RunStream) -> bytes:
    """Return what ends a stream: an error before `done` where the run neither ended nor waits for its client."""
    return DONE if _rests(stream.run) else error_event(ApiError(BROKEN_OFF)) + DONE


def _messages_shown(body: CreateRun | CreateThreadAndRun | None) -> int | None:
    """Return how many of the newest messages a run asks for, None for as many as fit."""
    truncation = body.truncation_strategy if body is not None else None
    return truncation.last_messages if truncation is not None and truncation.type == "last_messages" else None
