"""Readers of one run, whenever they join: each is told every event once and in order, and none costs another."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from app.db.database import Database
from app.engine.bus import Topic
from app.engine.follow import PING, follow
from app.engine.turn import Stamped
from tests.fakes.callers import CALLER
from tests.fakes.model import Line, ScriptedModel, answer, finish, text, usage
from tests.integration.engine.rig import MESSAGES, NEVER_S, Accepted, Rig, assert_whole, engine, over, text_of

pytestmark = pytest.mark.anyio

READERS = 200
LATE = 20
PIECES = [f"piece {number}. " for number in range(300)]
WHOLE = "".join(PIECES)


def flowing() -> list[Line]:
    """Say the pieces over about half a second, some in one go, with journal flushes meanwhile."""
    script: list[Line] = []
    for at in range(0, len(PIECES), 3):
        script += [text(*PIECES[at : at + 3]), 0.005]
    return [*script, finish(), usage()]


async def join(rig: Rig, run: Accepted, after_s: float, topics: list[Topic | None], seed: int) -> list[Stamped]:
    """Read a run from some moment on, now and then slowly."""
    await asyncio.sleep(after_s)
    chance = random.Random(seed)
    topic = rig.executor.topic(run.spec.run_id)
    topics.append(topic)
    heard: list[Stamped] = []
    async for batch in follow(rig.journal, run.spec.run_id, topic, ping_s=NEVER_S):
        heard += batch
        if chance.random() < 0.05:
            await asyncio.sleep(chance.random() * 0.05)
    return heard


def assert_all_were_told_all(told: Sequence[Sequence[Stamped]], whole: str) -> None:
    for events in told:
        assert_whole(events)
        assert events == told[0]
        assert text_of(events) == whole


@pytest.mark.parametrize("kept", [4096, 8], ids=["all in memory", "little in memory"])
async def test_readers_that_join_at_any_moment_are_told_everything_once(store: Database, kept: int) -> None:
    chance = random.Random(kept)
    async with engine(store, ScriptedModel(flowing()), flush_s=0.03, kept=kept) as rig:
        run, topic = await rig.start()
        topics: list[Topic | None] = []
        joins = [join(rig, run, chance.random() * 0.6, topics, seed) for seed in range(READERS - LATE)]
        told = await asyncio.gather(*joins)
        await over(topic)
        told += await asyncio.gather(*(join(rig, run, 0, topics, seed) for seed in range(LATE)))
        assert_all_were_told_all(told, WHOLE)
        [message] = await rig.rows(MESSAGES, run)
        assert WHOLE in message.content
        assert topics.count(topic) > READERS // 4, "many joined while it ran"
        assert topics.count(None) >= LATE, "some joined after its end"
        if kept == 8:
            assert topic.floor > 200, "late readers had to come from the journal"
            assert len(topic.events) < 250


async def test_a_reader_that_was_told_some_of_it_goes_on_where_it_was(store: Database) -> None:
    gate = asyncio.Event()
    async with engine(store, ScriptedModel([text(*PIECES[:9]), gate, *answer(*PIECES[9:])]), kept=4) as rig:
        run, topic = await rig.start()
        reading = [asyncio.create_task(rig.read(run.spec.run_id, topic, after)) for after in range(14)]
        await asyncio.sleep(0.05)
        gate.set()
        for after, told in enumerate(await asyncio.gather(*reading)):
            assert_whole(told, after)
            assert told[-1] == (await rig.journal.events_after(run.spec.run_id, after))[-1]


async def test_a_reader_after_the_end_is_told_what_was(store: Database) -> None:
    async with engine(store, ScriptedModel(answer("hello", " there"))) as rig:
        run, topic = await rig.start()
        live = await rig.read(run.spec.run_id, topic)
        await over(topic)
        assert rig.executor.topic(run.spec.run_id) is None
        assert_all_were_told_all([live, await rig.read(run.spec.run_id, None)], "hello there")
        assert await rig.read(run.spec.run_id, None, after=live[-1].seq) == []


async def test_one_who_holds_the_topic_of_an_ended_run_is_told_the_rest(store: Database) -> None:
    async with engine(store, ScriptedModel(flowing()), flush_s=0.03, kept=8) as rig:
        run, topic = await rig.start()
        reader = follow(rig.journal, run.spec.run_id, topic, ping_s=NEVER_S)
        told = list(await anext(reader))
        await over(topic)
        async for batch in reader:
            told += batch
        assert_all_were_told_all([told], WHOLE)


async def test_a_reader_that_never_reads_costs_nobody_anything(store: Database) -> None:
    async with engine(store, ScriptedModel(flowing()), flush_s=0.03, kept=8) as rig:
        run, topic = await rig.start()
        stuck = [follow(rig.journal, run.spec.run_id, topic, ping_s=NEVER_S) for _ in range(50)]
        for reader in stuck:
            await anext(reader)
        began = asyncio.get_running_loop().time()
        told = await rig.read(run.spec.run_id, topic)
        assert asyncio.get_running_loop().time() - began < 3
        assert_all_were_told_all([told], WHOLE)
        for reader in stuck:
            await reader.aclose()


async def test_silence_is_broken_by_pings_and_what_follows_is_told(store: Database) -> None:
    gate = asyncio.Event()
    async with engine(store, ScriptedModel([text("a"), gate, *answer("b")])) as rig:
        run, topic = await rig.start()
        reader = follow(rig.journal, run.spec.run_id, topic, ping_s=0.03)
        told: list[Stamped] = []
        pings = 0
        async for batch in reader:
            told += batch
            pings += batch is PING
            if pings == 3:
                gate.set()
        assert_all_were_told_all([told], "ab")
        assert pings >= 3


async def test_readers_of_a_run_that_was_deleted_are_let_go(store: Database) -> None:
    async with engine(store, ScriptedModel([text("half"), asyncio.Event()])) as rig:
        run, topic = await rig.start()
        reading = asyncio.create_task(rig.read(run.spec.run_id, topic))
        await asyncio.sleep(0.05)
        await rig.threads.delete(CALLER, run.spec.thread_id)
        async with asyncio.timeout(5):
            assert text_of(await reading) == "half"
