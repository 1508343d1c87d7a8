"""POST /v1/responses and what becomes of it: the object, its stream, its echoes, how it ends, and what is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.checker import Checker
from tests.fakes.model_faults import replies, sends, stalls
from tests.fakes.model_server import model_server
from tests.fakes.model_tools import argued, calls, named, says_and_waits
from tests.fakes.model_wire import DONE, REFUSALS, chunk, finish, role, text, usage
from tests.fixtures.calls import assert_refused, get, post
from tests.fixtures.responses import NEVER, PATH, PRICE, became, respond, shown, text_of, told
from tests.fixtures.rooms import Scripted, led_by_a_script, served

pytestmark = pytest.mark.anyio

SAY = "say exactly: Gold is up."


async def test_a_response_is_answered_whole_and_kept(rooms: Any) -> None:
    response = await respond(rooms, SAY, metadata={"desk": "metals"})
    assert (response["status"], text_of(response)) == ("completed", "Gold is up.")
    assert response["usage"]["output_tokens"] > 0
    assert await get(rooms, f"{PATH}/{response['id']}") == response
    items = await get(rooms, f"{PATH}/{response['id']}/input_items")
    assert [(item["role"], item["content"]) for item in items["data"]] == [
        ("user", [{"type": "input_text", "text": SAY}])
    ]


async def test_a_stream_ends_with_what_is_kept(rooms: Any) -> None:
    events = told(await rooms.post(PATH, json={"input": "repeat 20 words", "stream": True}))
    name, data = events[-1]
    assert name == "response.completed"
    assert await get(rooms, f"{PATH}/{data['response']['id']}") == data["response"]
    deltas = [data["delta"] for name, data in events if name == "response.output_text.delta"]
    assert "".join(deltas) == text_of(data["response"])
    assert len(deltas) == 20


async def test_a_stream_is_told_again_from_any_number_on(rooms: Any) -> None:
    live = await rooms.post(PATH, json={"input": "repeat 5 words", "stream": True, "stream_options": {}})
    events = told(live)
    path = f"{PATH}/{events[0][1]['response']['id']}"
    again = await rooms.get(path, params={"stream": "true", "include_obfuscation": "false"})
    assert again.content == live.content
    for seen in (0, 4, len(events) - 1):
        rest = await rooms.get(path, params={"stream": "true", "starting_after": seen})
        assert told(rest) == events[seen + 1 :] if seen < len(events) - 1 else rest.content == b""


async def test_what_was_asked_is_told_again(rooms: Any) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    asked = {
        "instructions": "Be brief.",
        "max_output_tokens": 64,
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "prompt_cache_key": "desk",
        "prompt_cache_retention": "24h",
        "reasoning": {"effort": "low", "summary": "auto"},
        "safety_identifier": "somebody",
        "service_tier": "flex",
        "store": True,
        "temperature": 0.25,
        "text": {"format": {"type": "json_schema", "name": "x", "schema": schema, "strict": True}, "verbosity": "low"},
        "tool_choice": {"type": "function", "name": "get_price"},
        "tools": [{**PRICE, "description": "A price.", "strict": False}],
        "top_p": 0.5,
        "truncation": "auto",
        "user": "somebody",
    }
    response = await respond(rooms, SAY, **asked, include=["reasoning.encrypted_content"], top_logprobs=0)
    assert {name: response[name] for name in asked} == asked


async def test_what_was_not_asked_is_told_as_what_holds(rooms: Any) -> None:
    response = await respond(rooms, SAY)
    assert {name: response[name] for name in ("temperature", "top_p", "tool_choice", "tools", "truncation")} == {
        **{"temperature": 1.0, "top_p": 1.0, "tool_choice": "auto", "tools": [], "truncation": "disabled"}
    }
    assert (response["model"], response["store"], response["service_tier"]) == ("sovereign-standin", True, "default")
    assert response["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert response["reasoning"] == {"effort": None, "summary": None}
    assert (response["background"], response["conversation"], response["metadata"]) == (False, None, {})


async def test_the_model_is_asked_what_the_client_asked(scripted: Scripted) -> None:
    schema = {"type": "object"}
    await respond(
        scripted.client,
        [
            {"role": "developer", "content": "Use pounds."},
            {"role": "user", "content": [{"type": "input_text", "text": "Price?"}]},
        ],
        instructions="Be brief.",
        max_output_tokens=64,
        reasoning={"effort": "low"},
        temperature=0.25,
        text={"format": {"type": "json_schema", "name": "x", "schema": schema}},
        tools=[PRICE, {"type": "function", "name": "get_risk"}],
        tool_choice={"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_price"}]},
        parallel_tool_calls=False,
    )
    asked = scripted.asked[0]
    assert shown(asked) == [("system", "Be brief."), ("system", "Use pounds."), ("user", "Price?")]
    function = {key: value for key, value in PRICE.items() if key != "type"}
    assert asked["tools"] == [{"type": "function", "function": function}]
    assert (asked["tool_choice"], asked["parallel_tool_calls"]) == ("required", False)
    assert (asked["max_tokens"], asked["temperature"], asked["reasoning_effort"]) == (64, 0.25, "low")
    assert asked["response_format"]["json_schema"]["schema"] == schema


async def test_calls_are_handed_over_and_their_outputs_taken(scripted: Scripted) -> None:
    scripted.model.script.append(calls(named(0, "get_price"), argued(0, '{"symbol":'), argued(0, '"ACME"}')))
    api = scripted.client
    first = await respond(api, "Price of ACME?", tools=[PRICE])
    [call] = first["output"]
    assert (first["status"], call["type"], call["arguments"]) == ("completed", "function_call", '{"symbol":"ACME"}')
    assert await get(api, f"{PATH}/{first['id']}") == first
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "101.25"}
    second = await respond(api, [output], tools=[PRICE], previous_response_id=first["id"])
    assert text_of(second) == "hello there"
    *_, said, result = scripted.asked[1]["messages"]
    assert said["tool_calls"][0]["function"] == {"name": "get_price", "arguments": '{"symbol":"ACME"}'}
    assert (result["role"], result["content"]) == ("tool", "101.25")


async def test_a_whole_history_may_be_sent_back_as_it_was_shown(scripted: Scripted) -> None:
    scripted.model.script.append(calls(named(0, "get_price"), argued(0, "{}"), says="One moment."))
    api = scripted.client
    first = await respond(api, "Price?", tools=[PRICE])
    said = [{"role": "user", "content": "Price?"}, *first["output"]]
    said += [{"type": "function_call_output", "call_id": first["output"][-1]["call_id"], "output": "7"}]
    await respond(api, said, tools=[PRICE], store=False)
    assert [role for role, _ in shown(scripted.asked[1])] == ["user", "assistant", "assistant", "tool"]


async def test_what_a_model_reasons_is_an_item(scripted: Scripted) -> None:
    thinking = [chunk({"reasoning": "Hm"}), chunk({"reasoning": "m."})]
    scripted.model.script.append(sends(role(), *thinking, text("Yes."), finish(), usage(4), DONE))
    api = scripted.client
    events = told(await api.post(PATH, json={"input": "Is it so?", "stream": True}))
    assert [data["delta"] for name, data in events if name == "response.reasoning_text.delta"] == ["Hm", "m."]
    response = events[-1][1]["response"]
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert response["output"][0]["content"] == [{"type": "reasoning_text", "text": "Hmm."}]
    assert await get(api, f"{PATH}/{response['id']}") == response
    await respond(api, "And now?", previous_response_id=response["id"])
    assert shown(scripted.asked[1]) == [("user", "Is it so?"), ("assistant", "Yes."), ("user", "And now?")]


async def test_an_answer_that_is_too_long_is_incomplete(rooms: Any) -> None:
    response = await respond(rooms, "repeat 100 words", max_output_tokens=16)
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert [item["status"] for item in response["output"]] == ["incomplete"]
    assert await get(rooms, f"{PATH}/{response['id']}") == response


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_of_the_model_server_is_a_response_that_failed(scripted: Scripted, stream: bool) -> None:
    scripted.model.script.append(replies(*REFUSALS["bad schema"]))
    answer = await scripted.client.post(PATH, json={"input": "x", "stream": stream})
    response = told(answer)[-1][1]["response"] if stream else answer.json()
    assert (answer.status_code, response["status"], response["output"]) == (200, "failed", [])
    assert response["error"]["code"] == "invalid_prompt"
    assert await get(scripted.client, f"{PATH}/{response['id']}") == response


async def test_a_response_of_the_background_waits_for_its_turn(narrow: Scripted) -> None:
    gate = asyncio.Event()
    narrow.model.script.append(says_and_waits(gate, "Well"))
    first = asyncio.create_task(respond(narrow.client, "x"))
    await narrow.chat()
    waiting = await respond(narrow.client, "y", background=True)
    assert (waiting["status"], waiting["background"]) == ("queued", True)
    unseen = asyncio.create_task(respond(narrow.client, "z"))
    while len(told_of := (await get(narrow.client, PATH))["data"]) < 3:
        await asyncio.sleep(0.005)
    assert [response["status"] for response in told_of] == ["in_progress", "queued", "in_progress"]
    gate.set()
    assert [response["status"] for response in await asyncio.gather(first, unseen)] == ["completed"] * 2
    assert text_of(await became(narrow.client, waiting, "completed")) == "hello there"


async def test_a_response_whose_time_is_up_failed(conformance: Checker, tmp_path: Path) -> None:
    async with led_by_a_script(conformance, tmp_path, RUN_EXPIRES_AFTER_S="2") as late:
        late.model.script.append(stalls(role(), text("Well")))
        response = await respond(late.client, "x")
        assert (response["status"], text_of(response)) == ("failed", "Well")
        assert response["error"]["message"] == "The response was not finished within the time that one may take."
        assert await get(late.client, f"{PATH}/{response['id']}") == response


async def test_a_stop_answers_what_is_stored_as_it_stands_and_refuses_the_rest(
    conformance: Checker, tmp_path: Path
) -> None:
    gate, url = asyncio.Event(), f"sqlite:///{tmp_path}/a.db"
    async with model_server() as model, served(conformance, DATABASE_URL=url, MODEL_URL=model.url) as api:
        model.script += [says_and_waits(gate, "Well")] * 2
        asked = [api.client.post(PATH, json={"input": "x", "store": store}) for store in (True, False)]
        answers = asyncio.gather(*asked)
        for number in (1, 2, 3):
            await model.request(number)
        await api.parts.executor.stop(0.1)
        stored, unkept = await answers
    assert (stored.status_code, stored.json()["status"]) == (200, "in_progress")
    assert (unkept.status_code, unkept.json()["error"]["message"]) == (
        *(503, "The server is stopping. Try again in a moment."),
    )


async def test_pollers_are_told_when_to_come_back(scripted: Scripted) -> None:
    gate, api = asyncio.Event(), scripted.client
    scripted.model.script.append(says_and_waits(gate, "Well"))
    answer = await api.post(PATH, json={"input": "x", "background": True})
    response = answer.json()
    assert (response["status"], response["output"]) == ("queued", [])
    assert int(answer.headers["openai-poll-after-ms"]) > 0
    await became(api, response, "in_progress")
    assert "openai-poll-after-ms" in (await api.get(f"{PATH}/{response['id']}")).headers
    gate.set()
    await became(api, response, "completed")
    assert "openai-poll-after-ms" not in (await api.get(f"{PATH}/{response['id']}")).headers


async def test_a_background_response_is_streamed_and_joined_live(scripted: Scripted) -> None:
    gate, api = asyncio.Event(), scripted.client
    scripted.model.script.append(says_and_waits(gate, "Well", " then"))
    response = await respond(api, "x", background=True)
    joined = asyncio.create_task(api.get(f"{PATH}/{response['id']}?stream=true"))
    await scripted.chat()
    gate.set()
    events = told(await joined)
    assert [name for name, _ in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert events[-1][1]["response"] == await get(api, f"{PATH}/{response['id']}")


async def test_cancel_keeps_what_was_said(scripted: Scripted) -> None:
    gate, api = asyncio.Event(), scripted.client
    scripted.model.script.append(says_and_waits(gate, "Well", " then"))
    response = await respond(api, "x", background=True)
    live = asyncio.create_task(api.get(f"{PATH}/{response['id']}?stream=true"))
    exchange = await scripted.chat()
    while not (await get(api, f"{PATH}/{response['id']}"))["output"]:
        await asyncio.sleep(0.005)
    cancelled = await post(api, f"{PATH}/{response['id']}/cancel")
    assert (cancelled["status"], text_of(cancelled)) == ("cancelled", "Well then")
    assert cancelled == await get(api, f"{PATH}/{response['id']}") == told(await live)[-1][1]["response"]
    await exchange.client_left()
    assert await post(api, f"{PATH}/{response['id']}/cancel") == cancelled


async def test_only_what_goes_on_in_the_background_is_cancelled(rooms: Any) -> None:
    response = await respond(rooms, SAY)
    answer = await rooms.post(f"{PATH}/{response['id']}/cancel")
    assert_refused(answer, "Cannot cancel a synchronous response.")
    response = await became(rooms, await respond(rooms, SAY, background=True), "completed")
    answer = await rooms.post(f"{PATH}/{response['id']}/cancel")
    assert_refused(answer, "Cannot cancel a completed response.")


async def test_responses_are_listed_with_cursors_and_by_metadata(rooms: Any) -> None:
    desk = {"desk": f"list of {id(rooms)}"}
    made = [await respond(rooms, SAY, metadata=desk | {"n": str(n)}) for n in range(3)]
    query = {f"metadata[{key}]": value for key, value in desk.items()}
    page = await get(rooms, PATH, limit=2, **query)
    assert (page["data"], page["has_more"]) == ([made[2], made[1]], True)
    page = await get(rooms, PATH, limit=2, after=page["last_id"], **query)
    assert (page["data"], page["has_more"]) == ([made[0]], False)
    assert (await get(rooms, PATH, **query, **{"metadata[n]": "1"}))["data"] == [made[1]]


async def test_input_items_are_paged(rooms: Any) -> None:
    said = [{"role": "user", "content": f"say exactly: {n}"} for n in range(3)]
    path = f"{PATH}/{(await respond(rooms, said))['id']}/input_items"
    page = await get(rooms, path, limit=2)
    assert [item["content"][0]["text"][-1] for item in page["data"]] == ["2", "1"]
    assert page["has_more"]
    rest = await get(rooms, path, limit=2, after=page["last_id"])
    assert [item["content"][0]["text"][-1] for item in rest["data"]] == ["0"]
    assert (await get(rooms, path, order="asc"))["first_id"] == rest["last_id"]
    answer = await rooms.get(path, params={"after": "msg_none"})
    text = "Invalid 'after': no object with id 'msg_none' found in this list."
    assert_refused(answer, text, param="after", code="invalid_value")


TEXT_OF_LOGPROBS = "this server tells no log probabilities"
REFUSED: dict[str, tuple[dict[str, Any], str, str | None, str | None]] = {
    "nothing to say": ({}, "Missing required parameter: 'input'.", "input", "missing_required_parameter"),
    "another tool": (
        {"tools": [{"type": "web_search"}]},
        "Invalid value: 'web_search'. This server has tools of this type: 'function'.",
        "tools[0].type",
        "invalid_value",
    ),
    "another context": (
        {"conversation": "conv_1", "previous_response_id": "resp_1"},
        "Mutually exclusive parameters. Ensure you are only providing one of: 'previous_response_id' or "
        "'conversation'.",
        "previous_response_id",
        "mutually_exclusive_parameters",
    ),
    "background that is not kept": (
        {"background": True, "store": False},
        "Invalid 'background': a response that is made in the background must be stored to be found again.",
        "background",
        "invalid_value",
    ),
    "prompt": (
        {"prompt": {"id": "pmpt_1"}},
        "Unsupported parameter: 'prompt': this server keeps no prompts. Send the text as `instructions` and `input`.",
        "prompt",
        "unsupported_parameter",
    ),
    "logprobs": (
        {"top_logprobs": 2},
        f"Unsupported parameter: 'top_logprobs': {TEXT_OF_LOGPROBS}.",
        "top_logprobs",
        "unsupported_parameter",
    ),
    "included logprobs": (
        {"include": ["message.output_text.logprobs"]},
        f"Unsupported parameter: 'include': {TEXT_OF_LOGPROBS}, so `message.output_text.logprobs` cannot be included.",
        "include",
        "unsupported_parameter",
    ),
    "a choice without tools": (
        {"tool_choice": "required"},
        "Tool choice 'required' must be specified with the 'tools' parameter.",
        "tool_choice",
        "invalid_value",
    ),
    "a choice that is not there": (
        {"tool_choice": {"type": "function", "name": "x"}, "tools": [PRICE]},
        "Tool choice 'x' not found in 'tools' parameter.",
        "tool_choice",
        "invalid_value",
    ),
    "few tokens": (
        {"max_output_tokens": 15},
        "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 15 instead.",
        "max_output_tokens",
        "integer_below_min_value",
    ),
    "an unknown predecessor": (
        {"previous_response_id": NEVER},
        f"Previous response with id '{NEVER}' not found.",
        "previous_response_id",
        "previous_response_not_found",
    ),
    "an output of nothing": (
        {"input": [{"type": "function_call_output", "call_id": "call_x", "output": "1"}]},
        "No tool call found for function call output with call_id call_x.",
        "input",
        None,
    ),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_carried_out_is_refused_in_words(rooms: Any, what: str, stream: bool) -> None:
    fields, text, param, code = REFUSED[what]
    said = {} if what == "nothing to say" else {"input": "x"}
    answer = await rooms.post(PATH, json={**said, **fields, "stream": stream})
    assert_refused(answer, text, param=param, code=code)


@pytest.mark.parametrize("store", [False, True])
async def test_what_is_not_there_is_not_found(rooms: Any, store: bool) -> None:
    answer = await rooms.post(PATH, json={"input": "x", "conversation": "conv_none", "store": store})
    assert_refused(answer, "Conversation with id 'conv_none' not found.", status=404)
    answer = await rooms.post(PATH, json={"input": [{"type": "item_reference", "id": "msg_none"}], "store": store})
    assert_refused(answer, "Item with id 'msg_none' not found.", status=404, param="input")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
        answer = await rooms.request(method, f"{PATH}/{NEVER}{path}")
        assert_refused(answer, f"Response with id '{NEVER}' not found.", status=404)


async def test_a_wrong_way_to_resume_is_refused(rooms: Any) -> None:
    path = f"{PATH}/{(await respond(rooms, SAY))['id']}"
    answer = await rooms.get(path, params={"stream": "perhaps"})
    text = "Invalid type for 'stream': expected a boolean, but got a string instead."
    assert_refused(answer, text, param="stream", code="invalid_type")
    answer = await rooms.get(path, params={"stream": "true", "starting_after": "-1"})
    text = "Invalid type for 'starting_after': expected an integer, but got a string instead."
    assert_refused(answer, text, param="starting_after", code="invalid_type")
