"""The slots of running turns: never more than there are, first come first served, none lost by who gives up."""

import asyncio

import pytest

from app.engine.slots import Slots

pytestmark = pytest.mark.anyio


async def queued(slots: Slots, count: int, order: list[int]) -> list["asyncio.Task[None]"]:
    """Let so many tasks wait for a slot; each notes when it got one."""

    async def take(number: int) -> None:
        await slots.take()
        order.append(number)

    tasks = [asyncio.create_task(take(number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_there_are_as_many_as_were_said() -> None:
    slots = Slots(2)
    assert [slots.try_take() for _ in range(3)] == [True, True, False]
    slots.give()
    assert slots.try_take()


async def test_who_waits_longest_gets_the_next_one() -> None:
    slots, order = Slots(1), list[int]()
    await slots.take()
    tasks = await queued(slots, 3, order)
    for expected in range(3):
        slots.give()
        await asyncio.sleep(0)
        assert order == list(range(expected + 1))
    assert all(task.done() for task in tasks)


async def test_nobody_overtakes_those_who_wait() -> None:
    slots, order = Slots(1), list[int]()
    await slots.take()
    await queued(slots, 1, order)
    slots.give()
    assert not slots.try_take(), "the slot is already handed over"
    await asyncio.sleep(0)
    assert order == [0]


async def test_who_gives_up_loses_no_slot() -> None:
    slots, order = Slots(1), list[int]()
    await slots.take()
    first, second = await queued(slots, 2, order)
    first.cancel()
    await asyncio.sleep(0)
    slots.give()
    await asyncio.wait_for(second, 1)
    assert order == [1]
    slots.give()
    assert slots.try_take()


async def test_who_gives_up_at_the_moment_of_the_handover_passes_it_on() -> None:
    slots, order = Slots(1), list[int]()
    await slots.take()
    first, second = await queued(slots, 2, order)
    slots.give()
    first.cancel()
    await asyncio.wait_for(second, 1)
    assert (first.cancelled(), order) == (True, [1])
    slots.give()
    assert slots.try_take()
