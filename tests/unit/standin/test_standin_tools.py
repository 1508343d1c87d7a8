"""Tool calls: when they are made, with what arguments, and how vLLM streams them."""

import json

import pytest

from .conftest import CHAT

pytestmark = pytest.mark.anyio


def offer(name, description="", **properties):
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


PRICE = offer("get_stock_price", "Get the latest quote of a stock", symbol={"type": "string"})
WEATHER = offer("get_weather", "Current weather for a place", location={"type": "string"})
ADD = offer("add", "Sum of two numbers", a={"type": "number"}, b={"type": "number"})
BY_NAME = {"type": "function", "function": {"name": "get_weather"}}


async def call(standin, message, **more):
    body = await standin.chat(message, **more)
    return body["choices"][0]


@pytest.mark.parametrize(
    ("message", "tool", "arguments"),
    [
        ("What is the price of AAPL?", PRICE, {"symbol": "AAPL"}),
        ("Any quote for Nvidia today?", PRICE, {"symbol": "Nvidia"}),
        ("What is the weather in Paris?", WEATHER, {"location": "Paris"}),
        ("please add 17 and 25", ADD, {"a": 17, "b": 25}),
        ("use get_weather", WEATHER, {"location": "example"}),
    ],
)
async def test_a_message_that_matches_a_tool_calls_it_with_its_own_words(standin, message, tool, arguments):
    choice = await call(standin, message, tools=[tool])
    (made,) = choice["message"]["tool_calls"]
    assert made["function"]["name"] == tool["function"]["name"]
    assert json.loads(made["function"]["arguments"]) == arguments
    assert made["id"].startswith("chatcmpl-tool-")
    assert set(made) == {"id", "type", "function"}
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)


@pytest.mark.parametrize("message", ["Good morning", "What would you do with this?", "say exactly: the weather"])
async def test_a_message_that_matches_no_tool_gets_text(standin, message):
    choice = await call(standin, message, tools=[PRICE, WEATHER])
    assert choice["finish_reason"] == "stop"
    assert "tool_calls" not in choice["message"]


async def test_choice_none_never_calls(standin):
    choice = await call(standin, "weather in Paris", tools=[WEATHER], tool_choice="none")
    assert "tool_calls" not in choice["message"]


async def test_a_tool_that_has_just_answered_is_not_called_again(standin):
    messages = [
        {"role": "user", "content": "weather in Paris"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
    ]
    _, body = await standin.post(CHAT, messages=messages, tools=[WEATHER])
    assert body["choices"][0]["message"]["content"].endswith('get_weather returned "rain".')


async def test_a_required_choice_calls_something_with_empty_content(standin):
    choice = await call(standin, "Good morning", tools=[PRICE, WEATHER], tool_choice="required")
    assert [made["function"]["name"] for made in choice["message"]["tool_calls"]] == ["get_stock_price"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "")


async def test_a_named_choice_finishes_with_stop(standin):
    choice = await call(standin, "price of AAPL", tools=[PRICE, WEATHER], tool_choice=BY_NAME)
    assert [made["function"]["name"] for made in choice["message"]["tool_calls"]] == ["get_weather"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("stop", "")


@pytest.mark.parametrize(("parallel", "count"), [(True, 2), (None, 2), (False, 1)])
async def test_several_matching_tools_are_called_unless_parallel_calls_are_off(standin, parallel, count):
    message = "weather in Paris and price of AAPL"
    choice = await call(standin, message, tools=[PRICE, WEATHER], parallel_tool_calls=parallel)
    ids = {made["id"] for made in choice["message"]["tool_calls"]}
    assert len(ids) == count


async def test_a_function_without_parameters_is_called_with_an_empty_object(standin):
    tool = {"type": "function", "function": {"name": "list_positions"}}
    choice = await call(standin, "show my positions", tools=[tool])
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


def read_deltas(chunks):
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


async def test_an_auto_call_is_streamed_name_first_then_arguments(standin):
    chunks = await standin.stream_chat("weather in Paris", tools=[WEATHER])
    role, opening, *pieces, last = read_deltas(chunks)
    (start,) = opening["tool_calls"]
    assert role == {"role": "assistant", "content": ""}
    assert list(start) == ["id", "type", "index", "function"]
    assert start["function"] == {"name": "get_weather"}
    assert all(list(piece["tool_calls"][0]) == ["index", "function"] for piece in pieces)
    written = "".join(piece["tool_calls"][0]["function"]["arguments"] for piece in pieces)
    assert json.loads(written) == {"location": "Paris"}
    assert last == {"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(("choice", "finish"), [("required", "tool_calls"), (BY_NAME, "stop")])
async def test_a_forced_call_is_streamed_alike_with_its_own_finish_reason(standin, choice, finish):
    auto = await standin.stream_chat("weather in Paris", tools=[WEATHER])
    forced = await standin.stream_chat("weather in Paris", tools=[WEATHER], tool_choice=choice)
    assert read_deltas(forced)[2:] == read_deltas(auto)[2:]
    assert forced[-1]["choices"][0]["finish_reason"] == finish


async def test_parallel_calls_are_streamed_one_after_the_other(standin):
    chunks = await standin.stream_chat("weather in Paris and price of AAPL", tools=[PRICE, WEATHER])
    written = {}
    for delta in read_deltas(chunks):
        for piece in delta.get("tool_calls", []):
            written[piece["index"]] = written.get(piece["index"], "") + piece["function"].get("arguments", "")
    assert [json.loads(text) for text in written.values()] == [{"symbol": "AAPL"}, {"location": "Paris"}]


async def test_a_streamed_call_counts_its_tokens(standin):
    plain = await standin.chat("weather in Paris", tools=[WEATHER])
    chunks = await standin.stream_chat("weather in Paris", tools=[WEATHER], stream_options={"include_usage": True})
    assert chunks[-1]["usage"]["completion_tokens"] == plain["usage"]["completion_tokens"]


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_call_that_does_not_fit_ends_by_length(standin, is_streamed):
    more = {"tools": [WEATHER], "max_tokens": 3}
    if is_streamed:
        choice = (await standin.stream_chat("weather in Paris", **more))[-1]["choices"][0]
    else:
        choice = await call(standin, "weather in Paris", **more)
    assert choice["finish_reason"] == "length"
