"""Background tasks with an owner: none is forgotten, none inherits a request's context, a failure is told."""

import asyncio
import contextvars
import logging

import pytest

from app.kit.tasks import TaskOwner

pytestmark = pytest.mark.anyio

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


async def test_a_task_runs_under_its_name_and_gives_its_result() -> None:
    async def work() -> int:
        return 7

    task = TaskOwner().start(work(), name="seven")
    assert task.get_name() == "seven"
    assert await task == 7


async def test_a_task_inherits_nothing_from_who_started_it() -> None:
    async def look() -> str:
        return request_id.get()

    request_id.set("req_1")
    assert await TaskOwner().start(look(), name="look") == "none"
    assert request_id.get() == "req_1"


async def test_what_nobody_awaits_is_logged_with_its_name_when_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("of no use")

    owner = TaskOwner()
    task = owner.start(fail(), name="a failing one")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert vars(record)["task"] == "a failing one"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_closing_cancels_what_runs_and_waits_until_it_has_cleaned_up(caplog: pytest.LogCaptureFixture) -> None:
    cleaned: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(name)

    owner = TaskOwner()
    tasks = [owner.start(work(name), name=name) for name in ("first", "second")]
    await asyncio.sleep(0)
    await owner.close()
    assert sorted(cleaned) == ["first", "second"]
    assert all(task.cancelled() for task in tasks)
    assert caplog.records == []


async def test_closing_does_not_wait_for_ever_for_one_that_will_not_end() -> None:
    let_go = asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    owner = TaskOwner()
    task = owner.start(stubborn(), name="stubborn")
    await asyncio.sleep(0)
    await asyncio.wait_for(owner.close(timeout_s=0.05), 5)
    assert not task.done()
    let_go.set()
    await task


async def test_closing_twice_or_without_tasks_is_nothing() -> None:
    owner = TaskOwner()
    await owner.close()
    await owner.start(asyncio.sleep(0), name="short")
    await owner.close()
    await owner.close()
