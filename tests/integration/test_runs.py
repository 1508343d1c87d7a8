"""Runs: what is accepted, what it turns into, the lock on the thread, streams and polls. Overrides are beside it."""

import asyncio
import json
import time
from typing import Any

import pytest

from tests.conformance.sse import parse
from tests.fakes.model_gate import waits
from tests.fixtures.calls import (
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
from tests.fixtures.rooms import Scripted

pytestmark = pytest.mark.anyio

ACCEPTED: dict[str, Any] = {
    "object": "thread.run",
    "status": "queued",
    "required_action": None,
    "last_error": None,
    "started_at": None,
    "cancelled_at": None,
    "failed_at": None,
    "completed_at": None,
    "incomplete_details": None,
    "model": "sovereign-standin",
    "instructions": "",
    "tools": [],
    "tool_resources": None,
    "metadata": {},
    "usage": None,
    "temperature": 1.0,
    "top_p": 1.0,
    "max_prompt_tokens": None,
    "max_completion_tokens": None,
    "truncation_strategy": {"type": "auto", "last_messages": None},
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "response_format": "auto",
    "reasoning_effort": None,
}


async def test_a_run_is_accepted_queued_with_every_field(rooms: Any) -> None:
    assistant, thread = await new_assistant(rooms), await new_thread(rooms, "say exactly: hi")
    before = int(time.time())
    run = await new_run(rooms, thread, assistant)
    assert before <= run["created_at"] <= time.time()
    assert run["expires_at"] == run["created_at"] + 600
    own = {"id": run["id"], "thread_id": thread, "assistant_id": assistant}
    times = {"created_at": run["created_at"], "expires_at": run["expires_at"]}
    assert run == {**ACCEPTED, **own, **times}
    await ended(rooms, run)


async def test_a_run_completes_with_usage_and_an_answer(rooms: Any) -> None:
    assistant, thread = await new_assistant(rooms, instructions="Be brief."), await new_thread(rooms, "repeat 3 words")
    accepted = await new_run(rooms, thread, assistant)
    run = await ended(rooms, accepted)
    assert run["created_at"] <= run["started_at"] <= run["completed_at"] <= time.time()
    usage = run["usage"]
    assert usage["completion_tokens"] == 3
    assert usage["prompt_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + 3
    moved = {"status": "completed", "expires_at": None, "usage": usage}
    times = {"started_at": run["started_at"], "completed_at": run["completed_at"]}
    assert run == {**accepted, **moved, **times}
    (answer,) = (await get(rooms, f"/v1/threads/{thread}/messages", run_id=run["id"]))["data"]
    assert (answer["role"], answer["status"], answer["assistant_id"]) == ("assistant", "completed", assistant)
    assert answer["content"] == [{"type": "text", "text": {"value": "buy hold sell", "annotations": []}}]
    assert answer["completed_at"] >= answer["created_at"]


async def test_the_model_sees_instructions_then_the_conversation(scripted: Scripted) -> None:
    api = scripted.client
    assistant = await new_assistant(api, model="tiny", instructions="Be brief.", temperature=0.5, top_p=0.25)
    thread = await new_thread(api, "first")
    await completed_run(api, thread, assistant)
    await post(api, f"/v1/threads/{thread}/messages", {"role": "user", "content": "second"})
    await completed_run(api, thread, assistant)
    asked = scripted.asked[-1]
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "hello there"},
        {"role": "user", "content": "second"},
    ]
    assert (asked["model"], asked["temperature"], asked["top_p"]) == ("tiny", 0.5, 0.25)
    assert asked["stream"] is True


async def test_what_was_left_to_the_model_is_not_sent(scripted: Scripted) -> None:
    assistant = await new_assistant(scripted.client, model="tiny", temperature=None, top_p=None)
    await completed_run(scripted.client, await new_thread(scripted.client, "x"), assistant)
    assert set(scripted.asked[-1]) == {"model", "messages", "stream", "stream_options"}


async def test_a_thread_and_run_is_one_call(rooms: Any) -> None:
    body = {
        "assistant_id": await new_assistant(rooms),
        "thread": {"messages": [{"role": "user", "content": "say exactly: made"}], "metadata": {"a": "b"}},
    }
    run = await ended(rooms, await post(rooms, "/v1/threads/runs", body))
    assert run["status"] == "completed"
    assert (await get(rooms, f"/v1/threads/{run['thread_id']}"))["metadata"] == {"a": "b"}
    assert await texts_of(rooms, run["thread_id"]) == ["say exactly: made", "made"]


@pytest.mark.parametrize("thread", [{}, {"thread": None}, {"thread": {}}], ids=["left out", "null", "empty"])
async def test_a_thread_and_run_needs_no_message(scripted: Scripted, thread: dict[str, Any]) -> None:
    assistant = await new_assistant(scripted.client, model="tiny", instructions="Greet.")
    run = await ended(
        scripted.client, await post(scripted.client, "/v1/threads/runs", {"assistant_id": assistant, **thread})
    )
    assert run["status"] == "completed"
    assert scripted.asked[-1]["messages"] == [{"role": "system", "content": "Greet."}]


async def test_a_refused_thread_and_run_leaves_no_thread(served_rooms: Any) -> None:
    from sqlalchemy import func, select, table

    count = select(func.count()).select_from(table("threads"))

    async def threads() -> int:
        return int(await served_rooms.database.read(lambda tx: tx.all(count)[0][0]))

    before = await threads()
    body = {"assistant_id": "asst_unknown", "thread": {"messages": [{"role": "user", "content": "x"}]}}
    answer = await served_rooms.client.post("/v1/threads/runs", json=body)
    assert_refused(answer, "No assistant found with id 'asst_unknown'.", status=404)
    assert await threads() == before


PLAIN_RUN = [
    "thread.run.created",
    "thread.run.queued",
    "thread.run.in_progress",
    "thread.run.step.created",
    "thread.run.step.in_progress",
    "thread.message.created",
    "thread.message.in_progress",
    "thread.message.delta",
    "thread.message.completed",
    "thread.run.step.completed",
    "thread.run.completed",
    "done",
]


def without_repeats(names: list[Any]) -> list[Any]:
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


@pytest.mark.parametrize("both", [True, False], ids=["thread and run", "run"])
async def test_a_stream_tells_what_is_then_stored(rooms: Any, both: bool) -> None:
    assistant = await new_assistant(rooms)
    message = {"role": "user", "content": "say exactly: one two three four"}
    if both:
        body = {"assistant_id": assistant, "thread": {"messages": [message]}, "stream": True}
        answer = await rooms.post("/v1/threads/runs", json=body)
    else:
        thread = await new_thread(rooms, message["content"])
        answer = await rooms.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant, "stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    events = parse(answer.content)
    assert without_repeats([event.event for event in events]) == ["thread.created"] * both + PLAIN_RUN
    told = {event.event: json.loads(event.data) for event in events[:-1]}
    run = told["thread.run.completed"]
    where = f"/v1/threads/{run['thread_id']}"
    assert await get(rooms, f"{where}/runs/{run['id']}") == run
    step = told["thread.run.step.completed"]
    assert await get(rooms, f"{where}/runs/{run['id']}/steps/{step['id']}") == step
    message = told["thread.message.completed"]
    assert await get(rooms, f"{where}/messages/{message['id']}") == message
    if both:
        assert await get(rooms, where) == told["thread.created"]
    deltas = [json.loads(event.data) for event in events if event.event == "thread.message.delta"]
    pieces = [delta["delta"]["content"][0]["text"]["value"] for delta in deltas]
    assert "".join(pieces) == "one two three four"
    assert len(pieces) > 1


@pytest.mark.parametrize("stream", [False, None])
async def test_a_run_is_streamed_only_when_asked(rooms: Any, stream: bool | None) -> None:
    assistant, thread = await new_assistant(rooms), await new_thread(rooms, "x")
    run = await new_run(rooms, thread, assistant, stream=stream)
    assert run["status"] == "queued"
    await ended(rooms, run)


@pytest.mark.parametrize("status", ["queued", "in_progress"])
async def test_an_active_run_holds_its_thread(narrow: Scripted, status: str) -> None:
    api, gate = narrow.client, asyncio.Event()
    assistant, thread = await new_assistant(api, model="tiny"), await new_thread(api, "x")
    if status == "queued":
        narrow.model.script.append(waits(gate, "the one before"))
        await became(api, await new_run(api, await new_thread(api, "x"), assistant), "in_progress")
    narrow.model.script.append(waits(gate, "at last"))
    run = await became(api, await new_run(api, thread, assistant), status)
    where = f"/v1/threads/{thread}"
    held = f"Can't add messages to {thread} while a run {run['id']} is active."
    assert_refused(await api.post(f"{where}/messages", json={"role": "user", "content": "y"}), held)
    busy = f"Thread {thread} already has an active run {run['id']}."
    for body in (
        {"assistant_id": assistant},
        {"assistant_id": assistant, "stream": True},
        {"assistant_id": assistant, "additional_messages": [{"role": "user", "content": "y"}]},
    ):
        assert_refused(await api.post(f"{where}/runs", json=body), busy)
    # Reading and relabelling go on meanwhile.
    assert (await post(api, where, {"metadata": {"a": "b"}}))["metadata"] == {"a": "b"}
    assert (await post(api, f"{where}/runs/{run['id']}", {"metadata": {"c": "d"}}))["metadata"] == {"c": "d"}
    gate.set()
    assert (await ended(api, run))["metadata"] == {"c": "d"}
    await post(api, f"{where}/messages", {"role": "user", "content": "y"})
    assert await texts_of(api, thread) == ["x", "at last", "y"]


async def test_other_threads_go_on_while_one_is_held(scripted: Scripted) -> None:
    api, gate = scripted.client, asyncio.Event()
    scripted.model.script.append(waits(gate, "late"))
    assistant = await new_assistant(api, model="tiny")
    slow = await new_run(api, await new_thread(api, "x"), assistant)
    await became(api, slow, "in_progress")
    await completed_run(api, await new_thread(api, "y"), assistant)
    gate.set()
    await ended(api, slow)


async def test_deleting_a_thread_ends_its_run_and_its_stream_says_so(scripted: Scripted) -> None:
    api, gate = scripted.client, asyncio.Event()
    scripted.model.script.append(waits(gate, "never told"))
    assistant, thread = await new_assistant(api, model="tiny"), await new_thread(api, "x")
    body = {"assistant_id": assistant, "stream": True}
    streaming = asyncio.create_task(api.post(f"/v1/threads/{thread}/runs", json=body))
    exchange = await scripted.chat()
    run = (await get(api, f"/v1/threads/{thread}/runs"))["data"][0]
    assert (await api.delete(f"/v1/threads/{thread}")).json()["deleted"] is True
    await exchange.client_left()
    events = parse((await streaming).content)
    assert "error" in [event.event for event in events]
    assert "thread.run.completed" not in [event.event for event in events]
    answer = await api.get(f"/v1/threads/{thread}/runs/{run['id']}")
    assert_refused(answer, f"No thread found with id '{thread}'.", status=404)


async def test_a_run_is_found_in_its_own_thread_only(rooms: Any) -> None:
    assistant, thread, other = await new_assistant(rooms), await new_thread(rooms, "x"), await new_thread(rooms)
    run = await completed_run(rooms, thread, assistant)
    where = f"/v1/threads/{other}/runs/{run['id']}"
    for answer in (
        await rooms.get(where),
        await rooms.post(where, json={"metadata": {"a": "b"}}),
        await rooms.get(f"{where}/steps"),
    ):
        assert_refused(answer, f"No run found with id '{run['id']}'.", status=404)


async def test_only_a_runs_metadata_can_be_changed(rooms: Any) -> None:
    run = await completed_run(rooms, await new_thread(rooms, "x"), await new_assistant(rooms))
    where = f"/v1/threads/{run['thread_id']}/runs/{run['id']}"
    assert await post(rooms, where, {"metadata": {"a": "b"}}) == {**run, "metadata": {"a": "b"}}
    for field in ("status", "instructions", "model"):
        answer = await rooms.post(where, json={field: "x"})
        assert_refused(answer, f"Unknown parameter: '{field}'.", param=field, code="unknown_parameter")


async def test_a_run_names_its_assistant(rooms: Any) -> None:
    thread = await new_thread(rooms, "x")
    text, code = "Missing required parameter: 'assistant_id'.", "missing_required_parameter"
    for path in (f"/v1/threads/{thread}/runs", "/v1/threads/runs"):
        for body in ({}, {"assistant_id": None}):
            assert_refused(await rooms.post(path, json=body), text, param="assistant_id", code=code)
        answer = await rooms.post(path, json={"assistant_id": "undefined"})
        malformed = "Invalid 'assistant_id': 'undefined'. Expected an ID that begins with 'asst'."
        assert_refused(answer, malformed, param="assistant_id", code="invalid_value")
    # None of them left a lock.
    await completed_run(rooms, thread, await new_assistant(rooms))
