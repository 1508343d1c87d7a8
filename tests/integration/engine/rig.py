"""The engine over a real store, put together as app/main.py does, with a model that a script leads. No HTTP server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct, convert
from sqlalchemy import Row, Table, select

from app.assistants.schemas import CreateAssistant
from app.assistants.service import AssistantService
from app.db.database import Database
from app.db.tables import DEFAULT_PROJECT, MessageRow, RunEventsRow, RunRow, StepRow, ThreadRow, table
from app.engine.bus import KEPT_EVENTS, Bus, Topic
from app.engine.events import MessageStarted, TextAdded
from app.engine.executor import Executor, Models
from app.engine.follow import follow
from app.engine.journal import Journal
from app.engine.turn import Stamped, Turn, TurnSpec
from app.kit.clock import Clock, SystemClock
from app.messages.schemas import CreateMessage
from app.messages.service import MessageService
from app.runs.columns import input_of
from app.runs.repository import RunWriter
from app.runs.rows import spec_of
from app.runs.schemas import CreateRun
from app.threads.schemas import CreateThread
from app.threads.service import ThreadService
from tests.fakes.callers import CALLER
from tests.fakes.model import OneModel, ScriptedModel

RUNS, THREADS, MESSAGES = table(RunRow), table(ThreadRow), table(MessageRow)
STEPS, EVENTS = table(StepRow), table(RunEventsRow)
NEVER_S = 3600.0
READ_S = 20.0


class Accepted(Struct, frozen=True):
    """A run that is committed; nobody carries it out yet."""

    spec: TurnSpec
    past: list[Stamped]

    def turn(self) -> Turn:
        """Return the turn as its acceptance left it."""
        return Turn(self.spec, self.past)


class Rig:
    """An engine and ways to start runs in it and to look at what became of them."""

    def __init__(self, database: Database, models: Models, clock: Clock, *, kept: int, **options: Any) -> None:
        self.database = database
        self.clock = clock
        self.journal = Journal(database)
        conversation = options.pop("conversation", MessageService(database, clock))
        fixed = {"concurrency": 8, "queue_limit": 1000, "flush_s": 0.01, "context_messages": 100}
        self.executor = Executor(
            models=models,
            conversation=conversation,
            journal=self.journal,
            bus=Bus(kept=kept),
            clock=clock,
            **(fixed | options),
        )
        self.threads = ThreadService(database, clock, self.executor)
        self.assistant_id = ""

    async def thread(self, *said: str) -> str:
        """Make a thread with messages; return its id."""
        messages = [CreateMessage(role="user", content=text) for text in said or ("hello",)]
        return (await self.threads.create(CALLER, CreateThread(messages=messages))).id

    async def accept(self, thread_id: str | None = None, *, starts: bool = False, **options: Any) -> Accepted:
        """Commit a run over a thread, a new one by default."""
        thread_id = thread_id or await self.thread()
        expires_after_s = options.pop("expires_after_s", 600)
        body = convert({"assistant_id": self.assistant_id, **options}, CreateRun)
        wanted = input_of(body, expires_after_s)
        row, past = await self.database.write(
            lambda tx: RunWriter(tx, CALLER).accept(thread_id, wanted, [], self.clock.now(), starts=starts)
        )
        return Accepted(spec_of(row), past)

    async def start(self, thread_id: str | None = None, **options: Any) -> tuple[Accepted, Topic]:
        """Accept a run and hand it to the executor, as the service of runs does."""
        thread_id = thread_id or await self.thread()
        place = self.executor.reserve(DEFAULT_PROJECT)
        try:
            accepted = await self.accept(thread_id, starts=place.starts, **options)
            return accepted, place.submit(accepted.spec, accepted.past)
        finally:
            place.release()

    async def run(self, thread_id: str | None = None, **options: Any) -> Accepted:
        """Start a run and wait until its task is over."""
        accepted, topic = await self.start(thread_id, **options)
        await over(topic)
        return accepted

    async def read(self, run_id: str, topic: Topic | None, after: int = 0) -> list[Stamped]:
        """Follow a run to its end; pings are no events."""
        reader = follow(self.journal, run_id, topic, after=after, ping_s=NEVER_S)
        async with asyncio.timeout(READ_S):
            return [stamped async for batch in reader for stamped in batch]

    async def rows(self, of: Table, run: Accepted) -> Sequence[Row[Any]]:
        """Return what a run made, in its order."""
        order = of.c.last_seq if of is EVENTS else of.c.position
        return await self.database.read(
            lambda tx: tx.all(select(of).where(of.c.run_id == run.spec.run_id).order_by(order))
        )

    async def run_row(self, run: Accepted) -> Row[Any]:
        """Return a run's row."""
        return await self._one(select(RUNS).where(RUNS.c.id == run.spec.run_id))

    async def holder(self, run: Accepted) -> str | None:
        """Return the id of the run that holds a run's thread, None when it is free."""
        row = await self._one(select(THREADS.c.active_run_id).where(THREADS.c.id == run.spec.thread_id))
        active: str | None = row.active_run_id
        return active

    async def _one(self, statement: Any) -> Row[Any]:
        row = await self.database.read(lambda tx: tx.first(statement))
        assert row is not None
        return row

    async def everything(self) -> list[list[tuple[Any, ...]]]:
        """Return every row of the store."""
        tables = (RUNS, THREADS, MESSAGES, STEPS, EVENTS)
        return await self.database.read(lambda tx: [[tuple(row) for row in tx.all(select(of))] for of in tables])


@asynccontextmanager
async def engine(
    database: Database,
    model: ScriptedModel | None = None,
    *,
    models: Models | None = None,
    clock: Clock | None = None,
    kept: int = KEPT_EVENTS,
    **options: Any,
) -> AsyncIterator[Rig]:
    """Run an engine for a block; what still runs at its end is cut short."""
    used = models or OneModel(model or ScriptedModel([]))
    rig = Rig(database, used, clock or SystemClock(), kept=kept, **options)
    assistants = AssistantService(database, rig.clock, _no_default)
    rig.assistant_id = (await assistants.create(CALLER, CreateAssistant(model="tiny"))).id
    try:
        yield rig
    finally:
        await rig.executor.stop(0)


async def _no_default() -> str:
    raise AssertionError("the assistant names its model")


async def over(topic: Topic, timeout_s: float = 10.0) -> None:
    """Wait until a run's task is over."""
    async with asyncio.timeout(timeout_s):
        while not topic.ended:
            await topic.changed(timeout_s)


async def told(topic: Topic, kind: type, count: int = 1, timeout_s: float = 5.0) -> None:
    """Wait until so many events of a kind were told."""
    async with asyncio.timeout(timeout_s):
        while sum(isinstance(stamped.event, kind) for stamped in topic.events) < count:
            assert not topic.ended, "the run is over"
            await topic.changed(timeout_s)


def kinds(events: Sequence[Stamped]) -> list[str]:
    """Name events by their kind, text told apart from text only once."""
    names = [type(stamped.event).__name__ for stamped in events]
    return [name for at, name in enumerate(names) if name != "TextAdded" or names[at - 1 : at] != ["TextAdded"]]


def text_of(events: Sequence[Stamped]) -> str:
    """Return the text of the last message that events tell of."""
    text = ""
    for stamped in events:
        if isinstance(stamped.event, MessageStarted):
            text = ""
        elif isinstance(stamped.event, TextAdded):
            text += stamped.event.text
    return text


def assert_whole(events: Sequence[Stamped], after: int = 0) -> None:
    """Check that events are each there once and in order, from the one after a number."""
    assert [stamped.seq for stamped in events] == list(range(after + 1, after + 1 + len(events)))
