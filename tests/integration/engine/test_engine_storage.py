"""A storage that fails or is slow: events are asked to be kept again, none is lost, none is told twice."""

import asyncio

import pytest

from app.db.database import StorageFailed
from app.engine.events import MessageStopped, TextAdded, TurnRequeued
from tests.fakes.callers import CALLER
from tests.fakes.database import TroubledDatabase
from tests.fakes.model import ScriptedModel, answer, finish, text, usage
from tests.integration.engine.rig import (
    EVENTS,
    MESSAGES,
    NEVER_S,
    Rig,
    assert_whole,
    engine,
    kinds,
    over,
    text_of,
    told,
)

pytestmark = pytest.mark.anyio

PLAIN = ["TurnQueued", "TurnStarted", "MessageStarted", "TextAdded", "MessageFinished", "TurnCompleted"]


async def journalled(rig: Rig, run_id: str, kind: type, count: int = 1) -> None:
    """Wait until a run's journal holds so many events of a kind."""
    async with asyncio.timeout(5):
        while sum(isinstance(s.event, kind) for s in await rig.journal.events_after(run_id, 0)) < count:
            await asyncio.sleep(0.01)


async def test_an_end_that_cannot_be_kept_is_kept_a_little_later(troubled: TroubledDatabase) -> None:
    gate = asyncio.Event()
    async with engine(troubled, ScriptedModel([text("half"), gate, *answer(" and whole")]), flush_s=NEVER_S) as rig:
        run, topic = await rig.start()
        await told(topic, TextAdded)
        troubled.failures = 2
        gate.set()
        events = await rig.read(run.spec.run_id, topic)
        assert troubled.failed == 2
        assert kinds(events) == PLAIN
        assert await rig.read(run.spec.run_id, None) == events
        assert (await rig.run_row(run)).status == "completed"


async def test_a_flush_that_fails_is_made_up_for_by_the_next_one(troubled: TroubledDatabase) -> None:
    gates = [asyncio.Event() for _ in range(2)]
    script = [text("one "), gates[0], text("two "), gates[1], text("three"), finish(), usage()]
    async with engine(troubled, ScriptedModel(script), flush_s=0.01) as rig:
        run, topic = await rig.start()
        await journalled(rig, run.spec.run_id, TextAdded)
        troubled.failures = 3
        gates[0].set()
        await journalled(rig, run.spec.run_id, TextAdded, count=2)
        assert troubled.failed == 3
        gates[1].set()
        events = await rig.read(run.spec.run_id, topic)
        assert_whole(events)
        assert await rig.read(run.spec.run_id, None) == events
        [message] = await rig.rows(MESSAGES, run)
        assert text_of(events) == "one two three" in message.content


async def test_text_that_no_flush_could_keep_is_kept_with_the_end(troubled: TroubledDatabase) -> None:
    gate = asyncio.Event()
    async with engine(troubled, ScriptedModel([text("half"), gate, *answer(" and whole")]), flush_s=0.01) as rig:
        run, topic = await rig.start()
        troubled.failures = 1_000_000
        await told(topic, TextAdded)
        while troubled.failed < 3:
            await asyncio.sleep(0.01)
        troubled.failures = 0
        gate.set()
        events = await rig.read(run.spec.run_id, topic)
        assert kinds(events) == PLAIN
        assert await rig.read(run.spec.run_id, None) == events


async def test_one_run_that_was_deleted_keeps_no_other_from_the_flush(troubled: TroubledDatabase) -> None:
    gates = [asyncio.Event() for _ in range(3)]
    scripts = [[text("half"), gate, *answer(" and whole")] for gate in gates]
    async with engine(troubled, ScriptedModel(*scripts), flush_s=0.05) as rig:
        runs = [await rig.start() for _ in range(3)]
        troubled.gate.clear()
        for _, topic in runs:
            await told(topic, TextAdded)
        deleting = asyncio.create_task(rig.threads.delete(CALLER, runs[1][0].spec.thread_id))
        await asyncio.sleep(0.1)
        troubled.gate.set()
        await deleting
        for run, _ in (runs[0], runs[2]):
            await journalled(rig, run.spec.run_id, TextAdded)
        for gate in gates:
            gate.set()
        for run, topic in (runs[0], runs[2]):
            assert text_of(await rig.read(run.spec.run_id, topic)) == "half and whole"
        assert await rig.rows(EVENTS, runs[1][0]) == []


async def test_a_stop_in_the_middle_of_a_flush_loses_no_text(troubled: TroubledDatabase) -> None:
    async with engine(troubled, ScriptedModel([text("half"), asyncio.Event()]), flush_s=0.01) as rig:
        run, topic = await rig.start()
        troubled.gate.clear()
        await told(topic, TextAdded)
        while not troubled.waiting:
            await asyncio.sleep(0.005)
        stopping = asyncio.create_task(rig.executor.stop(0))
        await asyncio.sleep(0.05)
        troubled.gate.set()
        await stopping
        events = await rig.read(run.spec.run_id, topic)
        assert_whole(events)
        assert isinstance(events[-1].event, TurnRequeued)
        assert await rig.read(run.spec.run_id, None) == events


async def test_a_stop_in_the_middle_of_an_end_lets_it_end(troubled: TroubledDatabase) -> None:
    gate = asyncio.Event()
    async with engine(troubled, ScriptedModel([text("half"), gate, *answer(" and whole")]), flush_s=NEVER_S) as rig:
        run, topic = await rig.start()
        await told(topic, TextAdded)
        troubled.gate.clear()
        gate.set()
        while not troubled.waiting:
            await asyncio.sleep(0.005)
        assert kinds(topic.events)[-1] == "TextAdded", "an end is told once it is on disk"
        stopping = asyncio.create_task(rig.executor.stop(0))
        await asyncio.sleep(0.05)
        troubled.gate.set()
        await stopping
        events = await rig.read(run.spec.run_id, None)
        assert kinds(events) == PLAIN
        assert await rig.holder(run) is None


async def test_a_deadline_in_the_middle_of_an_end_lets_it_end(troubled: TroubledDatabase) -> None:
    gate = asyncio.Event()
    async with engine(troubled, ScriptedModel([text("half"), gate, *answer(" and whole")]), flush_s=NEVER_S) as rig:
        run, topic = await rig.start(expires_after_s=1)
        await told(topic, TextAdded)
        troubled.gate.clear()
        gate.set()
        await asyncio.sleep(1.1)
        troubled.gate.set()
        await over(topic)
        events = await rig.read(run.spec.run_id, None)
        assert kinds(events) == PLAIN
        assert not [stamped for stamped in events if isinstance(stamped.event, MessageStopped)]


async def test_a_run_that_cannot_be_accepted_gives_its_place_back(troubled: TroubledDatabase) -> None:
    async with engine(troubled, ScriptedModel(answer("x")), concurrency=1, queue_limit=0) as rig:
        thread = await rig.thread()
        for _ in range(3):
            troubled.failures = 1
            with pytest.raises(StorageFailed):
                await rig.start(thread)
        run = await rig.run(thread)
        assert (await rig.run_row(run)).status == "completed"
