"""Run steps: one for each message that a run makes, with its usage, found under its own run only."""

from typing import Any

import pytest

from tests.fixtures.calls import assert_refused, completed_run, get, new_assistant, new_thread

pytestmark = pytest.mark.anyio


async def test_a_step_tells_which_message_it_made_and_what_that_took(rooms: Any) -> None:
    thread, assistant = await new_thread(rooms, "say exactly: made"), await new_assistant(rooms)
    run = await completed_run(rooms, thread, assistant)
    where = f"/v1/threads/{thread}/runs/{run['id']}/steps"
    page = await get(rooms, where)
    (step,) = page["data"]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (step["id"], step["id"], False)
    (message,) = (await get(rooms, f"/v1/threads/{thread}/messages", run_id=run["id"]))["data"]
    assert run["started_at"] <= step["created_at"] <= step["completed_at"] <= run["completed_at"]
    assert step == {
        "id": step["id"],
        "object": "thread.run.step",
        "created_at": step["created_at"],
        "assistant_id": assistant,
        "thread_id": thread,
        "run_id": run["id"],
        "type": "message_creation",
        "status": "completed",
        "step_details": {"type": "message_creation", "message_creation": {"message_id": message["id"]}},
        "last_error": None,
        "expired_at": None,
        "cancelled_at": None,
        "failed_at": None,
        "completed_at": step["completed_at"],
        "metadata": {},
        "usage": run["usage"],
    }
    assert await get(rooms, f"{where}/{step['id']}") == step


async def test_a_step_is_found_under_its_own_run_and_thread_only(rooms: Any) -> None:
    assistant = await new_assistant(rooms)
    runs = [await completed_run(rooms, await new_thread(rooms, "x"), assistant) for _ in range(2)]
    steps = [(await get(rooms, path(run)))["data"][0]["id"] for run in runs]
    answer = await rooms.get(f"{path(runs[0])}/{steps[1]}")
    assert_refused(answer, f"No run step found with id '{steps[1]}'.", status=404)
    crossed = f"/v1/threads/{runs[0]['thread_id']}/runs/{runs[1]['id']}/steps"
    for answer in (await rooms.get(crossed), await rooms.get(f"{crossed}/{steps[1]}")):
        assert_refused(answer, f"No run found with id '{runs[1]['id']}'.", status=404)


async def test_a_step_stays_when_its_message_is_deleted(rooms: Any) -> None:
    run = await completed_run(rooms, await new_thread(rooms, "x"), await new_assistant(rooms))
    (before,) = (await get(rooms, path(run)))["data"]
    message = before["step_details"]["message_creation"]["message_id"]
    await rooms.delete(f"/v1/threads/{run['thread_id']}/messages/{message}")
    assert (await get(rooms, path(run)))["data"] == [before]


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH"])
async def test_steps_are_only_read(rooms: Any, method: str) -> None:
    run = await completed_run(rooms, await new_thread(rooms, "x"), await new_assistant(rooms))
    where = f"{path(run)}/step_1"
    answer = await rooms.request(method, where)
    text = f"Not allowed to {method} on {where}. (HINT: Perhaps you meant to use a different HTTP method?)"
    assert_refused(answer, text, status=405, code="method_not_supported")


def path(run: dict[str, Any]) -> str:
    return f"/v1/threads/{run['thread_id']}/runs/{run['id']}/steps"
