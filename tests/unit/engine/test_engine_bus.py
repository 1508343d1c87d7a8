"""A run's topic: what it keeps, what it may forget, and who is woken."""

import asyncio

import pytest

from app.engine.bus import Bus, Topic
from app.engine.events import TextAdded, TurnQueued
from app.engine.turn import Stamped

pytestmark = pytest.mark.anyio


def stamped(first: int, last: int) -> list[Stamped]:
    return [Stamped(seq, TextAdded(text=str(seq))) for seq in range(first, last + 1)]


def topic_of(kept: int = 4) -> Topic:
    return Topic([Stamped(1, TurnQueued(at=1))], kept=kept)


def test_a_reader_gets_what_comes_after_its_place() -> None:
    topic = topic_of()
    topic.publish(stamped(2, 4))
    assert topic.after(2) == stamped(3, 4)
    assert topic.after(4) == []
    assert topic.last_seq == 4


def test_a_topic_of_a_run_that_was_taken_up_begins_where_its_journal_ends() -> None:
    topic = Topic(stamped(5, 6))
    topic.publish(stamped(7, 7))
    assert topic.after(4) == stamped(5, 7)
    assert topic.after(3) is None


def test_nothing_is_forgotten_that_is_not_on_disk() -> None:
    topic = topic_of(kept=4)
    topic.durable_seq = 1
    topic.publish(stamped(2, 40))
    assert topic.after(1) == stamped(2, 40)


def test_what_is_on_disk_is_forgotten_down_to_what_is_kept() -> None:
    topic = topic_of(kept=4)
    topic.publish(stamped(2, 9))
    topic.durable_seq = 9
    topic.publish(stamped(10, 10))
    assert topic.floor == 6
    assert topic.after(6) == stamped(7, 10)
    assert topic.after(5) is None
    assert topic.last_seq == 10


def test_memory_stays_bounded_while_the_journal_keeps_up() -> None:
    topic = topic_of(kept=10)
    for seq in range(2, 1000):
        topic.publish(stamped(seq, seq))
        topic.durable_seq = seq
        assert len(topic.events) <= 21
    assert topic.after(topic.floor) == stamped(topic.floor + 1, 999)


async def test_every_reader_that_waits_is_woken_by_one_event() -> None:
    topic = topic_of()
    waiting = [asyncio.create_task(topic.changed(5)) for _ in range(50)]
    await asyncio.sleep(0)
    topic.publish(stamped(2, 2))
    assert await asyncio.gather(*waiting) == [True] * 50


async def test_a_silent_topic_lets_its_reader_go_after_a_while() -> None:
    topic = topic_of()
    assert not await topic.changed(0.01)
    assert topic._waiters == set()


async def test_a_reader_that_gives_up_leaves_nothing_behind() -> None:
    topic = topic_of()
    waiting = asyncio.create_task(topic.changed(5))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert topic._waiters == set()
    topic.publish(stamped(2, 2))


async def test_the_end_wakes_readers_and_closes_the_bus_to_new_ones() -> None:
    bus = Bus()
    topic = bus.open("run_1", [Stamped(1, TurnQueued(at=1))])
    assert bus.topic("run_1") is topic
    waiting = asyncio.create_task(topic.changed(5))
    await asyncio.sleep(0)
    bus.close("run_1")
    assert await waiting
    assert topic.ended
    assert bus.topic("run_1") is None
    bus.close("run_1")


def test_a_topic_starts_with_what_its_acceptance_put_on_disk() -> None:
    topic = Bus(kept=3).open("run_1", stamped(1, 2))
    assert (topic.durable_seq, topic.last_seq, topic.kept) == (2, 2, 3)
