"""What handlers ask for is provided without a task for each of it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.fixtures.calls import get, new_thread
from tests.fixtures.rooms import Served

pytestmark = pytest.mark.anyio


async def test_a_request_is_served_in_one_task(served_rooms: Served) -> None:
    thread = await new_thread(served_rooms.client, "x")
    loop, started = asyncio.get_running_loop(), []

    def noting(at: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **more: Any) -> "asyncio.Task[Any]":
        started.append(coro.__qualname__)
        return asyncio.Task(coro, loop=at, **more)

    before = loop.get_task_factory()
    loop.set_task_factory(noting)  # type: ignore[arg-type]  # typeshed wants a future that a coroutine is not
    try:
        await get(served_rooms.client, f"/v1/threads/{thread}/messages", limit=1)
    finally:
        loop.set_task_factory(before)
    assert not [name for name in started if name.startswith("TaskHandle")], started  # a task group of the framework's
