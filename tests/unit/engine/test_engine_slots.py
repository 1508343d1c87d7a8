"""The slots of running turns and the places of waiting ones: never more than there are, none lost, fair to projects."""

import asyncio

import pytest

from app.engine.slots import Places, Slots
from app.errors import RateLimited

pytestmark = pytest.mark.anyio

DESK, OTHER, THIRD = "proj_desk", "proj_other", "proj_third"


async def queued(slots: Slots, count: int, order: list[int]) -> list["asyncio.Task[None]"]:
    """Let so many tasks wait for a slot; each notes when it got one."""

    async def take(number: int) -> None:
        await slots.take(DESK)
        order.append(number)

    tasks = [asyncio.create_task(take(number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_there_are_as_many_as_were_said() -> None:
    slots = Slots(2)
    assert [slots.try_take(DESK) for _ in range(3)] == [True, True, False]
    slots.give(DESK)
    assert slots.try_take(DESK)


async def test_who_waits_longest_gets_the_next_one() -> None:
    slots, order = Slots(1), list[int]()
    await slots.take(DESK)
    tasks = await queued(slots, 3, order)
    for expected in range(3):
        slots.give(DESK)
        await asyncio.sleep(0)
        assert order == list(range(expected + 1))
    assert all(task.done() for task in tasks)


async def test_nobody_overtakes_those_who_wait() -> None:
    slots, order = Slots(1), list[int]()
    await slots.take(DESK)
    await queued(slots, 1, order)
    slots.give(DESK)
    assert not slots.try_take(DESK), "the slot is already handed over"
    await asyncio.sleep(0)
    assert order == [0]


async def test_who_gives_up_loses_no_slot() -> None:
    slots, order = Slots(1), list[int]()
    await slots.take(DESK)
    first, second = await queued(slots, 2, order)
    first.cancel()
    await asyncio.sleep(0)
    slots.give(DESK)
    await asyncio.wait_for(second, 1)
    assert order == [1]
    slots.give(DESK)
    assert slots.try_take(DESK)


async def test_who_gives_up_at_the_moment_of_the_handover_passes_it_on() -> None:
    slots, order = Slots(1), list[int]()
    await slots.take(DESK)
    first, second = await queued(slots, 2, order)
    slots.give(DESK)
    first.cancel()
    await asyncio.wait_for(second, 1)
    assert (first.cancelled(), order) == (True, [1])
    slots.give(DESK)
    assert slots.try_take(DESK)


async def in_line(slots: Slots, projects: list[str]) -> tuple[list[str], list["asyncio.Task[None]"]]:
    """Let one of each project wait, in this order; return who was served, and the tasks."""
    served: list[str] = []

    async def take(project_id: str) -> None:
        await slots.take(project_id)
        served.append(project_id)

    tasks = [asyncio.create_task(take(project_id)) for project_id in projects]
    await asyncio.sleep(0)
    return served, tasks


async def test_a_project_with_a_long_line_keeps_no_other_waiting() -> None:
    slots = Slots(1)
    await slots.take(DESK)
    served, tasks = await in_line(slots, [DESK] * 5 + [OTHER] * 2 + [THIRD])
    running = DESK
    for _ in tasks:
        slots.give(running)
        await asyncio.sleep(0)
        running = served[-1]
    assert served == [DESK, OTHER, THIRD, DESK, OTHER, DESK, DESK, DESK]


async def test_a_free_slot_goes_to_the_project_that_has_the_fewest() -> None:
    slots = Slots(4)
    for _ in range(4):
        await slots.take(DESK)
    served, _ = await in_line(slots, [DESK] * 3 + [OTHER] * 3)
    for _ in range(4):
        slots.give(DESK)
        await asyncio.sleep(0)
    assert served == [OTHER, OTHER, DESK, DESK]


async def test_one_of_another_project_that_gives_up_leaves_no_trace() -> None:
    slots = Slots(1)
    await slots.take(DESK)
    served, (gone, stays) = await in_line(slots, [OTHER, THIRD])
    gone.cancel()
    await asyncio.sleep(0)
    slots.give(DESK)
    await asyncio.wait_for(stays, 1)
    assert served == [THIRD]
    slots.give(THIRD)
    assert slots.try_take(DESK)


def full(places: Places, project_id: str) -> int:
    """Fill places for a project; return how many it got."""
    for taken in range(1000):
        try:
            places.enter(project_id)
        except RateLimited as refused:
            assert (refused.code, refused.retry_after_s) == ("rate_limit_exceeded", 5)
            return taken
    raise AssertionError("there is no end to them")


def test_a_project_alone_gets_every_place_and_not_one_more() -> None:
    places = Places(12)
    assert full(places, DESK) == 12
    places.leave(DESK)
    assert full(places, DESK) == 1


def test_a_project_that_fills_every_place_keeps_no_other_out() -> None:
    places = Places(12)
    full(places, DESK)
    assert [full(places, OTHER), full(places, THIRD)] == [6, 4]
    assert places.taken == 22
    for _ in range(12):
        places.leave(DESK)
    assert full(places, DESK) == 4, "its share, as the others have theirs"
