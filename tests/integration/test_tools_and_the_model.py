"""What the model server is told of function tools, and what becomes of what it sends: vLLM's habits are absorbed."""

import json
import re
from typing import Any

import pytest

from tests.fakes.model_faults import replies, sends
from tests.fakes.model_tools import argued, calling, calls, function, named
from tests.fakes.model_wire import DONE, PROMPT_TOKENS, REFUSALS, chunk, finish, role, usage
from tests.fixtures.calls import became, completed_run, ended, get, new_assistant, new_run, new_thread, post, texts_of
from tests.fixtures.rooms import Scripted
from tests.fixtures.tools import calls_of, names, path_of, steps_of, submit, summed, told, waiting_run

pytestmark = pytest.mark.anyio

PRICE, WEATHER = function("get_price", strict=True), function("get_weather", "Weather of a place")
ARGUMENTS = '{"symbol":"ACME"}'
CALL_ID = re.compile(r"call_[A-Za-z0-9]{24}")


async def begin(scripted: Scripted, *behaviours: Any, **fields: Any) -> dict[str, Any]:
    """Let a run call what the script says; return it as it waits."""
    scripted.model.script.extend(behaviours)
    assistant = await new_assistant(scripted.client, model="tiny", tools=[PRICE, WEATHER])
    return await waiting_run(scripted.client, await new_thread(scripted.client, "x"), assistant, **fields)


async def finish_with(scripted: Scripted, run: dict[str, Any], *outputs: str) -> dict[str, Any]:
    """Submit outputs; return the run when it has ended."""
    assert (await submit(scripted.client, run, *outputs)).status_code == 200
    return await ended(scripted.client, run)


async def test_tools_are_handed_over_as_the_client_gave_them(scripted: Scripted) -> None:
    run = await begin(scripted, calls(calling("get_price", ARGUMENTS)))
    assert run["tools"] == [PRICE, WEATHER]
    await finish_with(scripted, run, "7")
    for asked in scripted.asked:
        assert asked["tools"] == [PRICE, WEATHER]
        assert asked["tool_choice"] == "auto"
        assert "parallel_tool_calls" not in asked


async def test_one_call_at_a_time_is_asked_of_the_model(scripted: Scripted) -> None:
    run = await begin(scripted, calls(calling("get_price", ARGUMENTS)), parallel_tool_calls=False)
    await finish_with(scripted, run, "7")
    assert [asked["parallel_tool_calls"] for asked in scripted.asked] == [False, False]


NAMED = {"type": "function", "function": {"name": "get_price"}}


@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
async def test_a_choice_is_forced_in_the_first_call_only(scripted: Scripted, choice: Any) -> None:
    run = await begin(scripted, calls(calling("get_price", ARGUMENTS), reason="stop"), tool_choice=choice)
    assert (await finish_with(scripted, run, "7"))["status"] == "completed"
    assert [asked["tool_choice"] for asked in scripted.asked] == [choice, "auto"]


async def test_none_is_asked_of_the_model(scripted: Scripted) -> None:
    assistant = await new_assistant(scripted.client, model="tiny", tools=[PRICE])
    await completed_run(scripted.client, await new_thread(scripted.client, "x"), assistant, tool_choice="none")
    assert scripted.asked[-1]["tool_choice"] == "none"


@pytest.mark.parametrize("kind", ["code_interpreter", "file_search"])
async def test_a_tool_without_its_room_is_not_offered(scripted: Scripted, kind: str) -> None:
    api = scripted.client
    assistant, thread = await new_assistant(api, model="tiny", tools=[{"type": kind}]), await new_thread(api, "x")
    run = await completed_run(api, thread, assistant, tool_choice={"type": kind})
    assert (run["tools"][0]["type"], run["tool_choice"]) == (kind, {"type": kind})
    assert {"tools", "tool_choice"} & set(scripted.asked[-1]) == set()
    await completed_run(api, thread, assistant, tools=[{"type": kind}, PRICE], tool_choice={"type": kind})
    assert (scripted.asked[-1]["tools"], scripted.asked[-1]["tool_choice"]) == ([PRICE], "auto")


@pytest.mark.parametrize("sent", ["chatcmpl-tool-9f86d081884c7d65", "call_9", "", None])
async def test_call_ids_are_ours_whatever_the_server_sends(scripted: Scripted, sent: str | None) -> None:
    two = calling("get_price", ARGUMENTS, id=sent) + calling("get_price", ARGUMENTS, index=1, id=sent)
    run = await begin(scripted, calls(two))
    first, second = (call["id"] for call in calls_of(run))
    assert first != second
    assert CALL_ID.fullmatch(first)
    assert CALL_ID.fullmatch(second)
    await finish_with(scripted, run, "7", "8")
    _, called, *outputs = scripted.asked[-1]["messages"]
    assert [call["id"] for call in called["tool_calls"]] == [first, second]
    assert [(given["tool_call_id"], given["content"]) for given in outputs] == [(first, "7"), (second, "8")]


async def test_arguments_in_pieces_of_calls_that_alternate_are_put_together(scripted: Scripted) -> None:
    pieces = [named(3, "get_price"), argued(3, '{"sym'), named(5, "get_weather"), argued(5, "{"), argued(3, 'bol":1}')]
    run = await begin(scripted, calls(*pieces, argued(5, "}")))
    made = [(call["function"]["name"], call["function"]["arguments"]) for call in calls_of(run)]
    assert made == [("get_price", '{"symbol":1}'), ("get_weather", "{}")]
    await finish_with(scripted, run, "7", "8")


@pytest.mark.parametrize("arguments", ['{"symbol": ', "ACME", "[1]", "", '{"a": 1}{"b": 2}'])
async def test_malformed_arguments_arrive_as_they_came_and_the_run_goes_on(scripted: Scripted, arguments: str) -> None:
    run = await begin(scripted, calls(calling("get_price", *arguments)))
    (call,) = calls_of(run)
    assert call["function"]["arguments"] == arguments
    assert (await finish_with(scripted, run, "these are no arguments"))["status"] == "completed"
    step, _ = await steps_of(scripted.client, run)
    assert step["step_details"]["tool_calls"][0]["function"]["arguments"] == arguments
    # vLLM refuses a conversation whose calls have other arguments than an object.
    (sent,) = scripted.asked[-1]["messages"][1]["tool_calls"]
    assert isinstance(json.loads(sent["function"]["arguments"]), dict)
    if arguments:
        assert arguments in json.loads(sent["function"]["arguments"]).values()


async def test_a_text_before_the_calls_is_a_message_of_its_own(scripted: Scripted) -> None:
    scripted.model.script.append(calls(calling("get_price", ARGUMENTS), says="Let me look."))
    api = scripted.client
    assistant, thread = await new_assistant(api, model="tiny", tools=[PRICE]), await new_thread(api, "x")
    events = told(await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant, "stream": True}))
    run = events[-1][1]
    assert names(events)[5:] == [
        "thread.message.created",
        "thread.message.in_progress",
        "thread.message.delta",
        "thread.message.completed",
        "thread.run.step.completed",
        "thread.run.step.created",
        "thread.run.step.in_progress",
        "thread.run.step.delta",
        "thread.run.requires_action",
    ]
    done = await finish_with(scripted, run, "7")
    steps = await steps_of(api, run)
    assert [step["type"] for step in steps] == ["message_creation", "tool_calls", "message_creation"]
    assert done["usage"] == summed(steps)
    assert await texts_of(api, thread) == ["x", "Let me look.", "hello there"]
    roles = [message["role"] for message in scripted.asked[-1]["messages"]]
    assert roles == ["user", "assistant", "assistant", "tool"]


async def test_several_rounds_in_one_run(scripted: Scripted) -> None:
    api = scripted.client
    run = await begin(scripted, *(calls(calling("get_price", json.dumps({"n": n})), tokens=n) for n in (1, 2, 3)))
    for number in (1, 2, 3):
        (call,) = calls_of(run)
        assert json.loads(call["function"]["arguments"]) == {"n": number}
        answer = await submit(api, run, f"output {number}")
        assert answer.json()["status"] == "queued"
        run = await became(api, run, "requires_action") if number < 3 else await ended(api, run)
    assert run["status"] == "completed"
    steps = await steps_of(api, run)
    assert [step["type"] for step in steps] == [*["tool_calls"] * 3, "message_creation"]
    assert [step["status"] for step in steps] == ["completed"] * 4
    assert [step["usage"]["completion_tokens"] for step in steps] == [1, 2, 3, 2]
    assert run["usage"] == summed(steps)
    assert run["usage"]["prompt_tokens"] == 4 * PROMPT_TOKENS
    outputs = [[said["content"] for said in asked["messages"] if said["role"] == "tool"] for asked in scripted.asked]
    assert outputs == [[], ["output 1"], ["output 1", "output 2"], ["output 1", "output 2", "output 3"]]


async def test_a_later_run_sees_earlier_calls_and_outputs_in_order(scripted: Scripted) -> None:
    api = scripted.client
    run = await begin(scripted, calls(calling("get_price", ARGUMENTS)), calls(calling("get_weather", "{}")))
    first = calls_of(run)[0]["id"]
    await submit(api, run, "7")
    run = await became(api, run, "requires_action")
    second = calls_of(run)[0]["id"]
    await finish_with(scripted, run, "rain")
    await post(api, f"/v1/threads/{run['thread_id']}/messages", {"role": "user", "content": "and now?"})
    await completed_run(api, run["thread_id"], run["assistant_id"], tools=[])

    def call(call_id: str, name: str, arguments: str, output: str) -> list[dict[str, Any]]:
        made = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        asks = {"role": "assistant", "content": "", "tool_calls": [made]}
        return [asks, {"role": "tool", "tool_call_id": call_id, "content": output}]

    assert scripted.asked[-1]["messages"] == [
        {"role": "user", "content": "x"},
        *call(first, "get_price", ARGUMENTS, "7"),
        *call(second, "get_weather", "{}", "rain"),
        {"role": "assistant", "content": "hello there"},
        {"role": "user", "content": "and now?"},
    ]


async def test_a_budget_is_spent_across_all_calls(scripted: Scripted) -> None:
    run = await begin(scripted, calls(calling("get_price", ARGUMENTS), tokens=100), max_completion_tokens=300)
    await finish_with(scripted, run, "7")
    assert [asked["max_tokens"] for asked in scripted.asked] == [300, 200]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_budget_that_the_calls_spent_leaves_no_answer(scripted: Scripted, stream: bool) -> None:
    run = await begin(scripted, calls(calling("get_price", ARGUMENTS), tokens=256), max_completion_tokens=256)
    answer = await submit(scripted.client, run, "7", stream=stream)
    done = await ended(scripted.client, run)
    assert (done["status"], done["incomplete_details"]) == ("incomplete", {"reason": "max_completion_tokens"})
    assert len(scripted.asked) == 1
    (step,) = await steps_of(scripted.client, run)
    assert (step["status"], step["step_details"]["tool_calls"][0]["function"]["output"]) == ("completed", "7")
    assert done["usage"] == step["usage"]
    if stream:
        assert told(answer)[-1] == ("thread.run.incomplete", done)


async def test_calls_that_were_cut_short_are_kept_and_not_asked_for(scripted: Scripted) -> None:
    api = scripted.client
    scripted.model.script.append(calls(calling("get_price", '{"sym'), reason="length", tokens=300))
    assistant, thread = await new_assistant(api, model="tiny", tools=[PRICE]), await new_thread(api, "x")
    body = {"assistant_id": assistant, "stream": True, "max_completion_tokens": 300}
    events = told(await api.post(f"/v1/threads/{thread}/runs", json=body))
    run = events[-1][1]
    assert (run["status"], run["incomplete_details"]) == ("incomplete", {"reason": "max_completion_tokens"})
    assert await get(api, path_of(run)) == run
    (step,) = await steps_of(api, run)
    assert ("thread.run.step.completed", step) in events
    assert step["step_details"]["tool_calls"][0]["function"]["arguments"] == '{"sym'
    assert run["usage"] == step["usage"] == {"prompt_tokens": 11, "completion_tokens": 300, "total_tokens": 311}
    await post(api, f"/v1/threads/{thread}/messages", {"role": "user", "content": "y"})
    await completed_run(api, thread, assistant)
    assert [said["content"] for said in scripted.asked[-1]["messages"]] == ["x", "y"]


async def test_a_model_that_fails_after_the_outputs_fails_the_run_with_what_it_took(scripted: Scripted) -> None:
    run = await begin(scripted, calls(calling("get_price", ARGUMENTS)), replies(*REFUSALS["prompt too long"]))
    done = await finish_with(scripted, run, "7")
    assert (done["status"], done["last_error"]["code"]) == ("failed", "invalid_prompt")
    steps = await steps_of(scripted.client, run)
    assert done["usage"] == summed(steps)
    assert steps[0]["status"] == "completed"
    await post(scripted.client, f"/v1/threads/{run['thread_id']}/messages", {"role": "user", "content": "free"})


async def test_calls_that_break_off_fail_their_step(scripted: Scripted) -> None:
    api = scripted.client
    scripted.model.script.append(sends(role(), calling("get_price", '{"sym'), b"data: nonsense\n\n"))
    assistant, thread = await new_assistant(api, model="tiny", tools=[PRICE]), await new_thread(api, "x")
    run = await ended(api, await new_run(api, thread, assistant))
    assert (run["status"], run["last_error"]["code"], run["required_action"]) == ("failed", "server_error", None)
    (step,) = await steps_of(api, run)
    assert (step["status"], step["last_error"]) == ("failed", run["last_error"])
    assert len(scripted.asked) == 1


async def test_calls_without_arguments_or_name_do_not_stop_the_run(scripted: Scripted) -> None:
    bare = {"tool_calls": [{"index": 0, "id": "1"}]}
    run = await begin(scripted, sends(role(), chunk(bare), finish("tool_calls"), usage(1), DONE))
    (call,) = calls_of(run)
    assert call["function"] == {"name": "", "arguments": ""}
    assert (await finish_with(scripted, run, "no such function"))["status"] == "completed"
