"""What a run takes instead of its assistant's settings, shown on the run and sent to the model server."""

import json
from typing import Any

import pytest

from tests.conformance.sse import parse
from tests.fakes.model_faults import streams
from tests.fakes.model_wire import MAX_MODEL_LEN
from tests.fixtures.calls import (
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

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "quote",
        "schema": {
            "type": "object",
            "properties": {"symbol": {"type": "string"}, "price": {"type": "number"}},
            "required": ["symbol", "price"],
            "additionalProperties": False,
        },
    },
}
TOOLS = [{"type": "code_interpreter"}, {"type": "function", "function": {"name": "f"}}]
OWN: dict[str, Any] = {
    "model": "tiny",
    "name": "Own",
    "instructions": "The assistant's.",
    "tools": [{"type": "file_search"}],
    "tool_resources": {"file_search": {"vector_store_ids": ["vs_own"]}},
    "temperature": 0.5,
    "top_p": 0.5,
    "response_format": {"type": "json_object"},
    "reasoning_effort": "low",
}
WITHOUT_MEANING_HERE = {"name"}


async def start(scripted: Scripted, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Carry out a run of an assistant that has everything; return the run and what the model server was asked."""
    api = scripted.client
    thread = await new_thread(api, "x")
    run = await completed_run(api, thread, await new_assistant(api, **OWN), **fields)
    return run, scripted.asked[-1]


async def test_a_run_has_its_assistants_settings(scripted: Scripted) -> None:
    run, asked = await start(scripted)
    inherited = OWN.keys() - WITHOUT_MEANING_HERE
    assert {name: run[name] for name in inherited} == {name: OWN[name] for name in inherited}
    assert asked["messages"][0] == {"role": "system", "content": "The assistant's."}
    sampling = (asked["temperature"], asked["top_p"], asked["response_format"], asked["reasoning_effort"])
    assert sampling == (0.5, 0.5, {"type": "json_object"}, "low")


async def test_null_is_the_assistants_setting(scripted: Scripted) -> None:
    fields = (
        "model instructions tools temperature top_p response_format reasoning_effort metadata stream max_prompt_tokens "
        "max_completion_tokens truncation_strategy tool_choice parallel_tool_calls additional_instructions "
        "additional_messages"
    )
    plain, _ = await start(scripted)
    run, _ = await start(scripted, **dict.fromkeys(fields.split()))
    differing = {"id", "thread_id", "assistant_id", "created_at", "started_at", "completed_at"}
    assert {name: run[name] for name in run.keys() - differing} == {
        name: plain[name] for name in plain.keys() - differing
    }


@pytest.mark.parametrize(
    ("field", "value", "asked_as"),
    [
        ("model", "gpt-4o", {"model": "tiny"}),
        ("temperature", 0.0, {"temperature": 0.0}),
        ("temperature", 2.0, {"temperature": 2.0}),
        ("top_p", 1.0, {"top_p": 1.0}),
        ("response_format", {"type": "text"}, {"response_format": None}),
        ("response_format", "auto", {"response_format": None}),
        ("response_format", SCHEMA, {"response_format": SCHEMA}),
        ("reasoning_effort", "high", {"reasoning_effort": "high"}),
        ("max_completion_tokens", 300, {"max_tokens": 300}),
        ("max_prompt_tokens", 300, {}),
        ("tools", [], {}),
        ("tools", TOOLS, {}),
        ("tool_choice", "none", {}),
        ("tool_choice", "required", {}),
        ("tool_choice", {"type": "function", "function": {"name": "f"}}, {}),
        ("tool_choice", {"type": "code_interpreter"}, {}),
        ("tool_choice", {"type": "file_search"}, {}),
        ("parallel_tool_calls", False, {}),
        ("truncation_strategy", {"type": "auto", "last_messages": None}, {}),
        ("truncation_strategy", {"type": "last_messages", "last_messages": 3}, {}),
    ],
    ids=str,
)
async def test_an_override_is_shown_and_sent(
    scripted: Scripted, field: str, value: Any, asked_as: dict[str, Any]
) -> None:
    run, asked = await start(scripted, **{field: value})
    assert run[field] == value
    assert {name: asked.get(name) for name in asked_as} == asked_as


async def test_the_smallest_top_p_is_one_that_vllm_takes(scripted: Scripted) -> None:
    run, asked = await start(scripted, top_p=0.0)
    assert run["top_p"] == 0.0
    assert 0 < asked["top_p"] < 0.001


async def test_a_budget_beyond_the_context_is_shown_but_not_sent(scripted: Scripted) -> None:
    run, asked = await start(scripted, max_completion_tokens=MAX_MODEL_LEN + 1)
    assert run["max_completion_tokens"] == MAX_MODEL_LEN + 1
    assert "max_tokens" not in asked
    _, asked = await start(scripted, max_completion_tokens=MAX_MODEL_LEN)
    assert asked["max_tokens"] == MAX_MODEL_LEN


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"instructions": "Own."}, "Own."),
        ({"additional_instructions": "More."}, "The assistant's.\nMore."),
        ({"instructions": "Own.", "additional_instructions": "More."}, "Own.\nMore."),
        ({"instructions": ""}, ""),
        ({"instructions": "", "additional_instructions": "More."}, "More."),
        ({"instructions": None, "additional_instructions": None}, "The assistant's."),
    ],
    ids=str,
)
async def test_instructions_replace_and_additional_ones_follow(
    scripted: Scripted, fields: dict[str, Any], expected: str
) -> None:
    run, asked = await start(scripted, **fields)
    assert run["instructions"] == expected
    system = [message["content"] for message in asked["messages"] if message["role"] == "system"]
    assert system == ([expected] if expected else [])


async def test_an_assistant_without_instructions_gives_a_run_an_empty_text(rooms: Any) -> None:
    run = await completed_run(rooms, await new_thread(rooms, "x"), await new_assistant(rooms))
    assert run["instructions"] == ""


async def test_additional_messages_stand_in_the_thread_before_the_answer(rooms: Any) -> None:
    thread, assistant = await new_thread(rooms, "first"), await new_assistant(rooms)
    more = [
        {"role": "assistant", "content": "second", "metadata": {"from": "elsewhere"}},
        {
            "role": "user",
            "content": [{"type": "text", "text": "say exactly: fourth"}],
            "attachments": [{"file_id": "file-1", "tools": [{"type": "code_interpreter"}]}],
        },
    ]
    run = await completed_run(rooms, thread, assistant, additional_messages=more)
    assert await texts_of(rooms, thread) == ["first", "second", "say exactly: fourth", "fourth"]
    page = await get(rooms, f"/v1/threads/{thread}/messages", order="asc")
    assert [message["run_id"] for message in page["data"]] == [None, None, None, run["id"]]
    assert page["data"][1]["metadata"] == {"from": "elsewhere"}
    assert page["data"][2]["attachments"] == more[1]["attachments"]


async def test_the_model_sees_only_the_last_messages_that_a_run_asks_for(scripted: Scripted) -> None:
    api = scripted.client
    thread = await new_thread(api, *(f"number {n}" for n in range(1, 6)))
    assistant = await new_assistant(api, model="tiny", instructions="Count.")
    strategy = {"type": "last_messages", "last_messages": 2}
    await completed_run(api, thread, assistant, truncation_strategy=strategy)
    assert [message["content"] for message in scripted.asked[-1]["messages"]] == ["Count.", "number 4", "number 5"]


async def shown(scripted: Scripted, url: str) -> Any:
    """Ask about a picture; return what the model was shown."""
    picture = {"type": "image_url", "image_url": {"url": url}}
    content = [{"type": "text", "text": "look"}, picture]
    thread = (await post(scripted.client, "/v1/threads", {"messages": [{"role": "user", "content": content}]}))["id"]
    await completed_run(scripted.client, thread, await new_assistant(scripted.client, model="tiny"))
    (message,) = scripted.asked[-1]["messages"]
    return message["content"]


async def test_a_picture_in_its_address_is_handed_to_the_model(scripted: Scripted) -> None:
    text, picture = await shown(scripted, "data:image/png;base64,aGk=")
    assert (text["type"], picture["type"]) == ("text", "image_url")
    assert picture["image_url"]["url"] == "data:image/png;base64,aGk="


@pytest.mark.parametrize("url", ["https://pictures.test/a.png", "http://169.254.169.254/latest", "file:///etc/passwd"])
async def test_an_address_that_somebody_would_have_to_fetch_is_only_named_to_the_model(
    scripted: Scripted, url: str
) -> None:
    assert await shown(scripted, url) == f"look\n[picture: {url}]"


async def test_a_schema_shapes_the_answer(rooms: Any) -> None:
    thread, assistant = await new_thread(rooms, "a quote, please"), await new_assistant(rooms, response_format=SCHEMA)
    run = await completed_run(rooms, thread, assistant)
    assert run["response_format"] == SCHEMA
    answer = json.loads((await texts_of(rooms, thread))[-1])
    assert answer.keys() == {"symbol", "price"}


@pytest.mark.parametrize("stream", [False, True], ids=["polled", "streamed"])
async def test_a_run_that_spends_its_tokens_is_incomplete_and_keeps_what_it_said(rooms: Any, stream: bool) -> None:
    thread, assistant = await new_thread(rooms, "repeat 300 words"), await new_assistant(rooms)
    body = {"assistant_id": assistant, "max_completion_tokens": 256, "stream": stream}
    answer = await rooms.post(f"/v1/threads/{thread}/runs", json=body)
    if stream:
        names = [event.event for event in parse(answer.content)]
        assert names[-4:] == [
            "thread.message.incomplete",
            "thread.run.step.completed",
            "thread.run.incomplete",
            "done",
        ]
    (run,) = (await get(rooms, f"/v1/threads/{thread}/runs"))["data"]
    run = await ended(rooms, run)
    assert run["status"] == "incomplete"
    assert run["incomplete_details"] == {"reason": "max_completion_tokens"}
    assert run["usage"]["completion_tokens"] == 256
    assert (run["expires_at"], run["completed_at"], run["last_error"]) == (None, None, None)
    message = (await get(rooms, f"/v1/threads/{thread}/messages"))["data"][0]
    assert (message["status"], message["incomplete_details"]) == ("incomplete", {"reason": "max_tokens"})
    assert len(message["content"][0]["text"]["value"].split()) == 256
    (step,) = (await get(rooms, f"/v1/threads/{thread}/runs/{run['id']}/steps"))["data"]
    assert (step["status"], step["usage"]) == ("completed", run["usage"])
    await completed_run(rooms, await new_thread(rooms, "x"), assistant)
    await post(rooms, f"/v1/threads/{thread}/messages", {"role": "user", "content": "the thread is free"})


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-4-turbo"])
async def test_an_alias_is_echoed_as_the_client_wrote_it(shared_api: Any, name: str) -> None:
    assistant = await post(shared_api, "/v1/assistants", {"model": name})
    assert assistant["model"] == name
    run = await completed_run(shared_api, await new_thread(shared_api, "x"), assistant["id"])
    assert run["model"] == name


async def test_a_thread_and_run_takes_the_same_overrides_and_its_own_resources(scripted: Scripted) -> None:
    api = scripted.client
    resources = {"code_interpreter": {"file_ids": ["file-1"]}}
    overrides = {
        "model": "gpt-4o",
        "instructions": "Own.",
        "tools": TOOLS,
        "temperature": 0.1,
        "top_p": 0.2,
        "response_format": {"type": "json_object"},
        "metadata": {"a": "b"},
        "max_prompt_tokens": 500,
        "max_completion_tokens": 400,
        "tool_choice": "none",
        "parallel_tool_calls": False,
        "truncation_strategy": {"type": "last_messages", "last_messages": 1},
        "tool_resources": resources,
    }
    thread = {"messages": [{"role": "user", "content": "x"}], "tool_resources": OWN["tool_resources"]}
    body = {"assistant_id": await new_assistant(api, **OWN), "thread": thread, **overrides}
    run = await ended(api, await post(api, "/v1/threads/runs", body))
    assert run["status"] == "completed"
    assert {name: run[name] for name in overrides} == overrides
    assert (await get(api, f"/v1/threads/{run['thread_id']}"))["tool_resources"] == OWN["tool_resources"]
    for name in ("additional_instructions", "additional_messages", "reasoning_effort"):
        answer = await api.post("/v1/threads/runs", json={**body, name: None})
        assert answer.json()["error"]["code"] == "unknown_parameter"


async def test_the_query_for_search_results_is_taken(scripted: Scripted) -> None:
    api, include = scripted.client, {"include[]": "step_details.tool_calls[*].file_search.results[*].content"}
    scripted.model.script.append(streams("ok"))
    thread, assistant = await new_thread(api, "x"), await new_assistant(api, model="tiny")
    answer = await api.post(f"/v1/threads/{thread}/runs", params=include, json={"assistant_id": assistant})
    run = await ended(api, answer.json())
    steps = await get(api, f"/v1/threads/{thread}/runs/{run['id']}/steps", **include)
    await get(api, f"/v1/threads/{thread}/runs/{run['id']}/steps/{steps['data'][0]['id']}", **include)


async def test_a_change_of_the_assistant_does_not_reach_its_runs(rooms: Any) -> None:
    assistant, thread = await new_assistant(rooms, instructions="Before."), await new_thread(rooms, "x")
    run = await ended(rooms, await new_run(rooms, thread, assistant))
    await post(rooms, f"/v1/assistants/{assistant}", {"instructions": "After.", "model": "other"})
    assert await get(rooms, f"/v1/threads/{thread}/runs/{run['id']}") == run
