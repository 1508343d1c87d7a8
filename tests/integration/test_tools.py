"""Function tools, polled and streamed, on both databases: the round trip, its steps, its events and its choices."""

import json
import re
from typing import Any

import pytest

from tests.fakes.model_tools import function
from tests.fixtures.calls import assert_refused, completed_run, ended, get, new_assistant, new_run, new_thread, post
from tests.fixtures.tools import calls_of, names, path_of, steps_of, submit, summed, told, waiting_run

pytestmark = pytest.mark.anyio

PRICE, WEATHER = function("get_price", "Last price of a share"), function("get_weather", "Weather of a place")
CALL_ID = re.compile(r"call_[A-Za-z0-9]{24}")


async def test_a_round_trip_polled(rooms: Any) -> None:
    assistant, thread = await new_assistant(rooms, tools=[PRICE]), await new_thread(rooms, "get_price of ACME")
    run = await waiting_run(rooms, thread, assistant)
    assert run["required_action"]["type"] == "submit_tool_outputs"
    (call,) = calls_of(run)
    assert call == {
        "id": call["id"],
        "type": "function",
        "function": {"name": "get_price", "arguments": '{"symbol": "ACME"}'},
    }
    assert CALL_ID.fullmatch(call["id"])
    (step,) = await steps_of(rooms, run)
    detail = {"id": call["id"], "type": "function", "function": {**call["function"], "output": None}}
    assert (step["type"], step["status"]) == ("tool_calls", "in_progress")
    assert step["step_details"] == {"type": "tool_calls", "tool_calls": [detail]}
    answer = await submit(rooms, run, "101.25")
    assert answer.status_code == 200
    taken = answer.json()
    assert (taken["id"], taken["status"], taken["required_action"]) == (run["id"], "queued", None)
    done = await ended(rooms, run)
    assert (done["status"], done["required_action"]) == ("completed", None)
    tool_step, message_step = await steps_of(rooms, run)
    detail["function"]["output"] = "101.25"
    assert tool_step["step_details"]["tool_calls"] == [detail]
    assert (tool_step["status"], message_step["status"]) == ("completed", "completed")
    assert message_step["type"] == "message_creation"
    assert done["usage"] == summed([tool_step, message_step])
    assert tool_step["usage"]["completion_tokens"] > 0
    (message,) = (await get(rooms, f"/v1/threads/{thread}/messages", run_id=run["id"]))["data"]
    assert message["content"][0]["text"]["value"] == '[stand-in] The tools answered: get_price returned "101.25".'


async def test_a_round_trip_streamed(rooms: Any) -> None:
    assistant, thread = await new_assistant(rooms, tools=[PRICE]), await new_thread(rooms, "get_price of ACME")
    body = {"assistant_id": assistant, "stream": True}
    first = told(await rooms.post(f"/v1/threads/{thread}/runs", json=body))
    assert names(first) == [
        "thread.run.created",
        "thread.run.queued",
        "thread.run.in_progress",
        "thread.run.step.created",
        "thread.run.step.in_progress",
        "thread.run.step.delta",
        "thread.run.requires_action",
    ]
    run = first[-1][1]
    assert run == await get(rooms, path_of(run))
    (waiting_step,) = await steps_of(rooms, run)
    second = told(await submit(rooms, run, "101.25", stream=True))
    assert names(second) == [
        "thread.run.step.completed",
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
    ]
    assert second[-1][1] == await get(rooms, path_of(run))
    closed = [data for name, data in second if name == "thread.run.step.completed"]
    assert closed == await steps_of(rooms, run)
    assert closed[0]["id"] == waiting_step["id"]


async def test_step_deltas_give_the_name_first_and_add_up_to_the_step(rooms: Any) -> None:
    assistant = await new_assistant(rooms, tools=[PRICE, WEATHER])
    thread = await new_thread(rooms, "price and weather of Ulm, please")
    events = told(await rooms.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant, "stream": True}))
    run = events[-1][1]
    (step,) = await steps_of(rooms, run)
    deltas = [data for name, data in events if name == "thread.run.step.delta"]
    assert {delta["id"] for delta in deltas} == {step["id"]}
    pieces = [call for delta in deltas for call in delta["delta"]["step_details"]["tool_calls"]]
    for index, call in enumerate(step["step_details"]["tool_calls"]):
        first, *later = [piece for piece in pieces if piece["index"] == index]
        function = {"name": call["function"]["name"], "arguments": "", "output": None}
        assert first == {"index": index, "id": call["id"], "type": "function", "function": function}
        assert len(later) > 1
        assert {(*piece, *piece["function"]) for piece in later} == {("index", "type", "function", "arguments")}
        assert "".join(piece["function"]["arguments"] for piece in later) == call["function"]["arguments"]


async def test_calls_in_parallel_are_answered_together_in_any_order(rooms: Any) -> None:
    assistant = await new_assistant(rooms, tools=[PRICE, WEATHER])
    run = await waiting_run(rooms, await new_thread(rooms, "price and weather of Ulm, please"), assistant)
    price, weather = calls_of(run)
    assert (price["function"]["name"], weather["function"]["name"]) == ("get_price", "get_weather")
    assert price["id"] != weather["id"]
    outputs = [{"tool_call_id": weather["id"], "output": "rain"}, {"tool_call_id": price["id"], "output": "7"}]
    await post(rooms, f"{path_of(run)}/submit_tool_outputs", {"tool_outputs": outputs})
    assert (await ended(rooms, run))["status"] == "completed"
    step, _ = await steps_of(rooms, run)
    kept = [(call["id"], call["function"]["output"]) for call in step["step_details"]["tool_calls"]]
    assert kept == [(price["id"], "7"), (weather["id"], "rain")]


async def test_one_call_at_a_time_where_the_run_says_so(rooms: Any) -> None:
    assistant = await new_assistant(rooms, tools=[PRICE, WEATHER])
    thread = await new_thread(rooms, "price and weather of Ulm, please")
    run = await waiting_run(rooms, thread, assistant, parallel_tool_calls=False)
    assert len(calls_of(run)) == 1
    await submit(rooms, run, "7")
    await ended(rooms, run)


@pytest.mark.parametrize("output", ["", None])
async def test_an_output_may_be_empty(rooms: Any, output: str | None) -> None:
    assistant = await new_assistant(rooms, tools=[PRICE])
    run = await waiting_run(rooms, await new_thread(rooms, "get_price of ACME"), assistant)
    assert (await submit(rooms, run, output)).status_code == 200
    assert (await ended(rooms, run))["status"] == "completed"
    assert (await steps_of(rooms, run))[0]["step_details"]["tool_calls"][0]["function"]["output"] == ""


async def test_the_choice_none_gives_a_text(rooms: Any) -> None:
    assistant = await new_assistant(rooms, tools=[PRICE])
    run = await completed_run(rooms, await new_thread(rooms, "get_price of ACME"), assistant, tool_choice="none")
    assert [step["type"] for step in await steps_of(rooms, run)] == ["message_creation"]


@pytest.mark.parametrize(
    ("choice", "name"),
    [("required", "get_price"), ({"type": "function", "function": {"name": "get_weather"}}, "get_weather")],
    ids=["required", "named"],
)
async def test_a_forced_call_is_forced_once(rooms: Any, choice: Any, name: str) -> None:
    assistant = await new_assistant(rooms, tools=[PRICE, WEATHER])
    run = await waiting_run(rooms, await new_thread(rooms, "hello there"), assistant, tool_choice=choice)
    assert run["tool_choice"] == choice
    (call,) = calls_of(run)
    assert call["function"]["name"] == name
    await submit(rooms, run, "7")
    done = await ended(rooms, run)
    assert (done["status"], done["tool_choice"]) == ("completed", choice)
    assert [step["type"] for step in await steps_of(rooms, run)] == ["tool_calls", "message_creation"]


async def test_a_run_that_waits_for_outputs_holds_its_thread(rooms: Any) -> None:
    assistant, thread = await new_assistant(rooms, tools=[PRICE]), await new_thread(rooms, "get_price of ACME")
    run = await waiting_run(rooms, thread, assistant)
    held = f"Can't add messages to {thread} while a run {run['id']} is active."
    message = {"role": "user", "content": "y"}
    assert_refused(await rooms.post(f"/v1/threads/{thread}/messages", json=message), held)
    busy = f"Thread {thread} already has an active run {run['id']}."
    assert_refused(await rooms.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant}), busy)
    await submit(rooms, run, "7")
    await ended(rooms, run)
    await post(rooms, f"/v1/threads/{thread}/messages", message)


async def test_a_thread_with_calls_can_be_deleted_while_its_run_waits(rooms: Any) -> None:
    assistant, thread = await new_assistant(rooms, tools=[PRICE]), await new_thread(rooms, "get_price of ACME")
    run = await waiting_run(rooms, thread, assistant)
    assert (await rooms.delete(f"/v1/threads/{thread}")).json()["deleted"] is True
    assert_refused(await submit(rooms, run, "7"), f"No thread found with id '{thread}'.", status=404)


async def test_a_thread_and_run_calls_tools_too(rooms: Any) -> None:
    thread = {"messages": [{"role": "user", "content": "get_price of ACME"}]}
    body = {"assistant_id": await new_assistant(rooms), "tools": [PRICE], "thread": thread, "stream": True}
    events = told(await rooms.post("/v1/threads/runs", json=body))
    assert (events[0][0], events[-1][0]) == ("thread.created", "thread.run.requires_action")
    assert json.loads(calls_of(events[-1][1])[0]["function"]["arguments"]) == {"symbol": "ACME"}


WRONG_CALLS = {
    "missing": lambda ids: ids[:1],
    "unknown": lambda ids: [*ids[:1], "call_nobody"],
    "one too many": lambda ids: [*ids, "call_nobody"],
    "twice": lambda ids: [*ids, ids[0]],
    "twice instead": lambda ids: [ids[0], ids[0]],
    "none": lambda ids: [],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wrong", WRONG_CALLS.values(), ids=[*WRONG_CALLS])
async def test_other_outputs_than_those_that_are_wanted_are_refused(rooms: Any, wrong: Any, stream: bool) -> None:
    assistant = await new_assistant(rooms, tools=[PRICE, WEATHER])
    run = await waiting_run(rooms, await new_thread(rooms, "price and weather of Ulm, please"), assistant)
    ids = [call["id"] for call in calls_of(run)]
    given = wrong(ids)
    body = {"tool_outputs": [{"tool_call_id": call_id, "output": "7"} for call_id in given], "stream": stream}
    answer = await rooms.post(f"{path_of(run)}/submit_tool_outputs", json=body)
    listed = ", ".join(f"'{call_id}'" for call_id in given)
    assert_refused(answer, f"Expected tool outputs for call_ids ['{ids[0]}', '{ids[1]}'], got [{listed}]")
    assert await get(rooms, path_of(run)) == run
    assert (await submit(rooms, run, "7", "rain")).status_code == 200
    assert (await ended(rooms, run))["status"] == "completed"


@pytest.mark.parametrize("stream", [False, True])
async def test_outputs_are_refused_where_none_are_wanted(rooms: Any, stream: bool) -> None:
    assistant, thread = await new_assistant(rooms, tools=[PRICE]), await new_thread(rooms, "get_price of ACME")
    run = await waiting_run(rooms, thread, assistant)
    assert (await submit(rooms, run, "7")).status_code == 200
    await ended(rooms, run)
    answer = await submit(rooms, run, "8", stream=stream)
    assert_refused(answer, 'Runs in status "completed" do not accept tool outputs.')
    assert (await steps_of(rooms, run))[0]["step_details"]["tool_calls"][0]["function"]["output"] == "7"


async def test_outputs_of_an_unknown_run_are_404(rooms: Any) -> None:
    path = f"/v1/threads/{await new_thread(rooms)}/runs/run_nobody/submit_tool_outputs"
    answer = await rooms.post(path, json={"tool_outputs": []})
    assert_refused(answer, "No run found with id 'run_nobody'.", status=404)


async def test_tools_that_are_not_there_yet_are_named_in_a_header(rooms: Any) -> None:
    tools = [{"type": "file_search"}, {"type": "code_interpreter"}, PRICE]
    assistant, thread = await new_assistant(rooms, tools=tools), await new_thread(rooms, "get_price of ACME")
    where = f"/v1/threads/{thread}/runs"
    answer = await rooms.post(where, json={"assistant_id": assistant})
    assert answer.headers["x-unavailable-tools"] == "code_interpreter, file_search"
    assert [tool["type"] for tool in answer.json()["tools"]] == ["file_search", "code_interpreter", "function"]
    run = (await get(rooms, where))["data"][0]
    while run["status"] != "requires_action":
        run = await get(rooms, path_of(run))
    streamed = await submit(rooms, run, "7", stream=True)
    assert streamed.headers["x-unavailable-tools"] == "code_interpreter, file_search"
    plain = await new_run(rooms, thread, assistant, tools=[PRICE], tool_choice="none")
    answer = await rooms.post(
        f"/v1/threads/{await new_thread(rooms)}/runs", json={"assistant_id": assistant, "tools": []}
    )
    assert "x-unavailable-tools" not in answer.headers
    for started in (plain, answer.json()):
        await ended(rooms, started)
