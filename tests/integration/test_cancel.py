"""Cancelling a run: wherever it stands it ends, the model server is freed at once, and what was said is kept."""

import asyncio
from typing import Any

import pytest

from app.runs.repository import expire, overdue
from tests.fakes.model_faults import replies, stalls
from tests.fakes.model_gate import waits
from tests.fakes.model_server import model_server
from tests.fakes.model_tools import argued, calling, calls, calls_and_waits, function, named, says_and_waits
from tests.fakes.model_wire import REFUSALS, answer, role, text
from tests.fixtures.calls import (
    Json,
    assert_refused,
    became,
    completed_run,
    ended,
    get,
    new_assistant,
    new_run,
    new_thread,
    post,
    texts_of,
)
from tests.fixtures.rooms import Scripted, Served, served
from tests.fixtures.tools import names, path_of, steps_of, submit, summed, told, waiting_run

pytestmark = pytest.mark.anyio

FREED_WITHIN_S = 0.1
PRICE = function("get_price")


async def cancelled(api: Any, run: Json) -> Json:
    """Cancel a run, which must be taken; return it once it is cancelled. Its thread must be free again."""
    answer = await post(api, f"{path_of(run)}/cancel")
    assert answer == {
        **answer,
        "id": run["id"],
        "status": "cancelling",
        "required_action": None,
        "cancelled_at": None,
        "usage": None,
        "expires_at": run["expires_at"],
    }
    done = await ended(api, run)
    assert done["status"] == "cancelled"
    assert done["cancelled_at"] >= done["created_at"]
    nothing = ("required_action", "last_error", "expires_at", "completed_at", "failed_at")
    assert {done[key] for key in nothing} == {None}
    await post(api, f"/v1/threads/{run['thread_id']}/messages", {"role": "user", "content": "the thread is free"})
    return done


async def begun_to_answer(api: Any, thread: str) -> None:
    """Wait until what a run has said so far is on disk."""
    async with asyncio.timeout(5):
        while (await get(api, f"/v1/threads/{thread}/messages"))["data"][0]["status"] != "in_progress":
            await asyncio.sleep(0.01)


async def test_a_queued_run_is_cancelled_before_the_model_is_asked(narrow: Scripted) -> None:
    api, gate = narrow.client, asyncio.Event()
    narrow.model.script.append(waits(gate, "the one before"))
    assistant = await new_assistant(api, model="tiny")
    before = await became(api, await new_run(api, await new_thread(api, "x"), assistant), "in_progress")
    await narrow.chat()
    run = await new_run(api, await new_thread(api, "never asked"), assistant)
    assert (await get(api, path_of(run)))["status"] == "queued"
    done = await cancelled(api, run)
    assert done["started_at"] is None
    assert await steps_of(api, run) == []
    gate.set()
    assert (await ended(api, before))["status"] == "completed"
    # Its place in the queue is free again, and the slot was not lost.
    await completed_run(api, await new_thread(api, "y"), assistant)
    assert "never asked" not in str(narrow.asked)


async def test_what_a_cancelled_run_had_said_is_kept(conformance: Any, database_url: str) -> None:
    gate = asyncio.Event()
    async with model_server() as model, served(conformance, DATABASE_URL=database_url, MODEL_URL=model.url) as on:
        model.script.append(says_and_waits(gate, "half an", " answer"))
        api = on.client
        thread, assistant = await new_thread(api, "x"), await new_assistant(api, model="tiny")
        run = await new_run(api, thread, assistant)
        await begun_to_answer(api, thread)
        done = await cancelled(api, run)
        message = (await get(api, f"/v1/threads/{thread}/messages", run_id=run["id"]))["data"][0]
        assert (message["status"], message["incomplete_details"]) == ("incomplete", {"reason": "run_cancelled"})
        assert message["content"][0]["text"]["value"] == "half an answer"
        assert message["incomplete_at"] >= message["created_at"]
        (step,) = await steps_of(api, run)
        assert (step["status"], step["cancelled_at"], step["last_error"]) == ("cancelled", done["cancelled_at"], None)
        await completed_run(api, thread, assistant)
        last = [request for request in model.requests if request.method == "POST"][-1]
        said = [said["content"] for said in last.json["messages"]]
        assert said == ["x", "half an answer", "the thread is free"]


@pytest.mark.parametrize("moment", ["before the first token", "after it", "in a call", "while it retries"])
async def test_the_model_server_is_freed_at_once(scripted: Scripted, moment: str) -> None:
    behaviours = {
        "before the first token": [stalls(head=False)],
        "after it": [stalls(role(), text("half"))],
        "in a call": [stalls(role(), named(0, "get_price"), argued(0, '{"sym'))],
        "while it retries": [replies(*REFUSALS["queue full"]), stalls(head=False)],
    }
    api, number = scripted.client, len(behaviours[moment])
    scripted.model.script.extend(behaviours[moment])
    assistant, thread = await new_assistant(api, model="tiny", tools=[PRICE]), await new_thread(api, "x")
    run = await new_run(api, thread, assistant)
    while len(scripted.asked) < number:
        await asyncio.sleep(0.005)
    exchange = [request for request in scripted.model.requests if request.method == "POST"][-1]
    await exchange.answered.wait() if moment != "before the first token" else None
    await asyncio.sleep(0.02)
    began = asyncio.get_running_loop().time()
    cancelling = asyncio.create_task(cancelled(api, run))
    assert await exchange.client_left() - began < FREED_WITHIN_S
    await cancelling
    assert len(scripted.asked) == number


async def test_a_pause_between_two_tries_is_cancelled_at_once(scripted: Scripted) -> None:
    api = scripted.client
    scripted.model.script.append(replies(*REFUSALS["queue full"]))
    run = await new_run(api, await new_thread(api, "x"), await new_assistant(api, model="tiny"))
    await became(api, run, "queued")
    await scripted.chat()
    began = asyncio.get_running_loop().time()
    await cancelled(api, run)
    assert asyncio.get_running_loop().time() - began < 0.2
    assert len(scripted.asked) == 1


async def test_calls_that_a_cancelled_run_waited_for_are_kept(rooms: Any) -> None:
    assistant, thread = await new_assistant(rooms, tools=[PRICE]), await new_thread(rooms, "get_price of ACME")
    run = await waiting_run(rooms, thread, assistant)
    (before,) = await steps_of(rooms, run)
    done = await cancelled(rooms, run)
    (step,) = await steps_of(rooms, run)
    assert (step["status"], step["cancelled_at"]) == ("cancelled", done["cancelled_at"])
    assert step["step_details"] == before["step_details"]
    assert done["usage"] == step["usage"]
    assert done["usage"]["completion_tokens"] > 0
    refused = 'Runs in status "cancelled" do not accept tool outputs.'
    assert_refused(await submit(rooms, run, "7"), refused)
    after = await ended(rooms, await new_run(rooms, thread, assistant, tool_choice="none"))
    assert after["status"] == "completed"


async def test_half_a_call_is_kept_with_its_step(scripted: Scripted) -> None:
    api, gate = scripted.client, asyncio.Event()
    scripted.model.script.append(calls_and_waits(gate, calling("get_price", '{"sym')))
    assistant, thread = await new_assistant(api, model="tiny", tools=[PRICE]), await new_thread(api, "x")
    run = await new_run(api, thread, assistant)
    await scripted.chat()
    while not await steps_of(api, run):
        await asyncio.sleep(0.01)
    await cancelled(api, run)
    (step,) = await steps_of(api, run)
    assert step["status"] == "cancelled"
    assert step["step_details"]["tool_calls"][0]["function"]["arguments"] == '{"sym'
    await completed_run(api, thread, assistant)
    assert [said["role"] for said in scripted.asked[-1]["messages"]] == ["user", "user"]


async def test_a_run_cancelled_after_outputs_keeps_what_its_calls_took(scripted: Scripted) -> None:
    api = scripted.client
    scripted.model.script.extend([calls(calling("get_price", "{}"), tokens=9), stalls()])
    assistant = await new_assistant(api, model="tiny", tools=[PRICE])
    run = await waiting_run(api, await new_thread(api, "x"), assistant)
    assert (await submit(api, run, "7")).status_code == 200
    while len(scripted.asked) < 2:
        await asyncio.sleep(0.005)
    done = await cancelled(api, run)
    steps = await steps_of(api, run)
    assert (steps[0]["status"], done["usage"]["completion_tokens"]) == ("completed", 9)
    assert done["usage"] == summed([step for step in steps if step["usage"]])


async def test_a_stream_tells_of_the_cancellation(scripted: Scripted) -> None:
    api, gate = scripted.client, asyncio.Event()
    scripted.model.script.append(says_and_waits(gate, "half an answer"))
    assistant, thread = await new_assistant(api, model="tiny"), await new_thread(api, "x")
    body = {"assistant_id": assistant, "stream": True}
    streaming = asyncio.create_task(api.post(f"/v1/threads/{thread}/runs", json=body))
    await scripted.chat()
    run = (await get(api, f"/v1/threads/{thread}/runs"))["data"][0]
    await begun_to_answer(api, thread)
    done = await cancelled(api, run)
    events = told(await streaming)
    assert names(events)[-5:] == [
        "thread.message.delta",
        "thread.run.cancelling",
        "thread.message.incomplete",
        "thread.run.step.cancelled",
        "thread.run.cancelled",
    ]
    assert events[-1][1] == done
    assert events[-3][1] == (await get(api, f"/v1/threads/{thread}/messages", run_id=run["id"]))["data"][0]
    assert [events[-2][1]] == await steps_of(api, run)


async def test_nothing_is_kept_of_a_message_that_says_nothing(scripted: Scripted) -> None:
    api = scripted.client
    scripted.model.script.append(stalls(role()))
    thread = await new_thread(api, "x")
    run = await new_run(api, thread, await new_assistant(api, model="tiny"))
    await scripted.chat()
    await cancelled(api, run)
    assert await texts_of(api, thread) == ["x", "the thread is free"]


async def test_many_cancel_at_once_and_the_run_ends_once(conformance: Any, sqlite_url: str) -> None:
    async with model_server() as model, served(conformance, DATABASE_URL=sqlite_url, MODEL_URL=model.url) as on:
        api = on.client
        model.script.append(says_and_waits(asyncio.Event(), "half an answer"))
        run = await new_run(api, await new_thread(api, "x"), await new_assistant(api, model="tiny"))
        await begun_to_answer(api, run["thread_id"])
        reading = asyncio.create_task(api.get(f"{path_of(run)}/events"))
        await asyncio.sleep(0.05)  # it follows by now
        asking = []
        for _ in range(100):
            asking.append(asyncio.create_task(on.parts.executor.cancel(run["id"])))
            await asyncio.sleep(0)
        answers = await asyncio.gather(*(api.post(f"{path_of(run)}/cancel") for _ in range(3)), *asking)
        for answered in answers[:3]:
            if answered.status_code == 200:
                assert answered.json()["status"] == "cancelling"
            else:
                assert_refused(answered, "Cannot cancel run with status 'cancelled'.")
        assert (await get(api, path_of(run)))["status"] == "cancelled"
        # Nobody's call cut the run's last words short: its readers heard them.
        events = [name for name, _ in told(await reading)]
        assert events[-1] == "thread.run.cancelled"
        assert events.count("thread.run.cancelling") == events.count("thread.run.cancelled") == 1


async def says_cut(exchange: Any) -> None:
    """Answer until the budget is spent."""
    await exchange.begin()
    await exchange.send(answer("cut", " short", reason="length"))
    await exchange.end()


BEHAVIOURS = {
    "failed": replies(*REFUSALS["image to a text model"]),
    "incomplete": says_cut,
    "cancelled": stalls(),
}


@pytest.mark.parametrize("status", ["completed", *BEHAVIOURS])
async def test_a_run_that_has_ended_cannot_be_cancelled(scripted: Scripted, status: str) -> None:
    api = scripted.client
    if status in BEHAVIOURS:
        scripted.model.script.append(BEHAVIOURS[status])
    run = await new_run(api, await new_thread(api, "x"), await new_assistant(api, model="tiny"))
    if status == "cancelled":
        await scripted.chat()
        await cancelled(api, run)
    done = await ended(api, run)
    assert done["status"] == status
    assert_refused(await api.post(f"{path_of(run)}/cancel"), f"Cannot cancel run with status '{status}'.")
    assert await get(api, path_of(run)) == done


async def test_an_expired_run_cannot_be_cancelled(served_rooms: Served) -> None:
    api = served_rooms.client
    assistant, thread = await new_assistant(api, tools=[PRICE]), await new_thread(api, "get_price of ACME")
    run = await waiting_run(api, thread, assistant)

    def let_expire(tx: Any) -> None:
        for row in overdue(tx, run["expires_at"]):
            if row.id == run["id"]:
                expire(tx, row, run["expires_at"])

    await served_rooms.database.write(let_expire)
    assert (await get(api, path_of(run)))["status"] == "expired"
    assert_refused(await api.post(f"{path_of(run)}/cancel"), "Cannot cancel run with status 'expired'.")


async def test_an_unknown_run_cannot_be_cancelled(rooms: Any) -> None:
    thread = await new_thread(rooms)
    answer = await rooms.post(f"/v1/threads/{thread}/runs/run_nobody/cancel")
    assert_refused(answer, "No run found with id 'run_nobody'.", status=404)
    run = await completed_run(rooms, await new_thread(rooms, "x"), await new_assistant(rooms))
    answer = await rooms.post(f"/v1/threads/{thread}/runs/{run['id']}/cancel")
    assert_refused(answer, f"No run found with id '{run['id']}'.", status=404)
