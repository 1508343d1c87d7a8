"""Rules of runs: accepted in one transaction, carried out by the engine, followed by whoever reads."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from msgspec import Struct, json
from sqlalchemy import Row

from app.db.database import Database, WriteTx
from app.engine.bus import Topic
from app.engine.executor import Executor
from app.engine.follow import follow
from app.engine.journal import Journal
from app.engine.lifecycle import ENDED
from app.engine.turn import Stamped
from app.errors import ApiError
from app.kit.clock import Clock
from app.kit.pages import Page, PageQuery
from app.runs.columns import input_of
from app.runs.rendering import RunStream, as_created
from app.runs.repository import RunReader, RunWriter, unended
from app.runs.rows import run_of, spec_of
from app.runs.schemas import CreateRun, CreateThreadAndRun, Run, RunStep, UpdateRun
from app.threads.repository import ThreadWriter
from app.threads.schemas import CreateThread, Thread
from app.web.errors import error_event
from app.web.events import DONE, PING, frame

BROKEN_OFF = "The run's events end here: it was deleted, or the server could not keep it."

Acceptance = tuple[Row[Any], list[Stamped]]
Accept = Callable[[WriteTx, bool], Acceptance]
"""Commits a run; told whether it starts at once."""


class StartedRun(Struct, frozen=True):
    """A run that was accepted, and where its events are told."""

    run: Run
    topic: Topic
    thread: Thread | None = None


class RunService:
    """Starts, lists and follows runs."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        executor: Executor,
        journal: Journal,
        *,
        expires_after_s: int,
        ping_s: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._executor = executor
        self._journal = journal
        self._expires_after_s = expires_after_s
        self._ping_s = ping_s

    async def create(self, project_id: str, thread_id: str, body: CreateRun) -> StartedRun:
        """Accept a run over a thread and hand it to the executor."""
        wanted = input_of(body, self._expires_after_s)
        messages = body.additional_messages or []
        at = self._clock.now()

        def accept(tx: WriteTx, starts: bool) -> Acceptance:
            return RunWriter(tx, project_id).accept(thread_id, wanted, messages, at, starts=starts)

        row, topic = await self._start(accept)
        return StartedRun(as_created(run_of(row)), topic)

    async def create_with_thread(self, project_id: str, body: CreateThreadAndRun) -> StartedRun:
        """Create a thread and accept a run over it, in one transaction."""
        wanted = input_of(body, self._expires_after_s)
        at = self._clock.now()
        made: list[Thread] = []

        def accept(tx: WriteTx, starts: bool) -> Acceptance:
            thread = ThreadWriter(tx, project_id).create(body.thread or CreateThread(), at)
            made[:] = [thread]
            return RunWriter(tx, project_id).accept(thread.id, wanted, [], at, starts=starts)

        row, topic = await self._start(accept)
        return StartedRun(as_created(run_of(row)), topic, made[0])

    async def _start(self, accept: Accept) -> tuple[Row[Any], Topic]:
        """Commit a run, then submit it. Shielded: a caller that goes away leaves no run that nobody carries out."""
        return await asyncio.shield(self._commit_and_submit(accept))

    async def _commit_and_submit(self, accept: Accept) -> tuple[Row[Any], Topic]:
        place = self._executor.reserve()
        try:
            row, accepted = await self._database.write(lambda tx: accept(tx, place.starts))
            return row, place.submit(spec_of(row), accepted)
        finally:
            place.release()

    async def stream(self, started: StartedRun) -> AsyncGenerator[bytes, None]:
        """Render a started run's events as they happen."""
        stream = RunStream(started.run)
        if started.thread is not None:
            yield frame(b"thread.created", json.encode(started.thread))
        async for events in follow(self._journal, started.run.id, started.topic, ping_s=self._ping_s):
            yield stream.feed(events) if events else PING
        if stream.run.status not in ENDED:
            yield error_event(ApiError(BROKEN_OFF))
        yield DONE

    async def page(self, project_id: str, thread_id: str, query: PageQuery) -> Page[Run]:
        """List a thread's runs."""
        return await self._database.read(lambda tx: RunReader(tx, project_id).page(thread_id, query))

    async def retrieve(self, project_id: str, thread_id: str, run_id: str) -> Run:
        """Return one run."""
        return run_of(await self._database.read(lambda tx: RunReader(tx, project_id).require(thread_id, run_id)))

    async def update(self, project_id: str, thread_id: str, run_id: str, body: UpdateRun) -> Run:
        """Replace a run's metadata."""
        if not isinstance(body.metadata, dict | None):
            return await self.retrieve(project_id, thread_id, run_id)
        metadata = body.metadata or {}
        row = await self._database.write(lambda tx: RunWriter(tx, project_id).set_metadata(thread_id, run_id, metadata))
        return run_of(row)

    async def steps(self, project_id: str, thread_id: str, run_id: str, query: PageQuery) -> Page[RunStep]:
        """List a run's steps."""
        return await self._database.read(lambda tx: RunReader(tx, project_id).steps(thread_id, run_id, query))

    async def step(self, project_id: str, thread_id: str, run_id: str, step_id: str) -> RunStep:
        """Return one step."""
        return await self._database.read(lambda tx: RunReader(tx, project_id).step(thread_id, run_id, step_id))

    async def take_up_unended(self) -> int:
        """Hand the runs that a stopped process left behind to the executor; return how many."""
        rows: Sequence[Row[Any]] = await self._database.read(unended)
        for row in rows:
            past = await self._journal.events_after(row.id, 0)
            self._executor.resume(spec_of(row), past)
        return len(rows)
