"""Chat completions that are not streamed: vLLM's fields, canned replies, limits, stops."""

import pytest

from .conftest import CHAT

pytestmark = pytest.mark.anyio


async def test_a_completion_has_vllms_fields_with_their_nulls(standin):
    body = await standin.chat("hello")
    (choice,) = body["choices"]
    nulls = ["service_tier", "prompt_logprobs", "prompt_token_ids", "prompt_text"]
    nulls += ["kv_transfer_params", "ec_transfer_params", "metrics"]
    told = ["id", "object", "created", "model", "choices", "system_fingerprint", "usage"]
    assert set(body) == {*told, *nulls}
    assert [body[name] for name in nulls] == [None] * len(nulls)
    assert set(choice) == {
        *("index", "message", "logprobs", "finish_reason", "stop_reason", "token_ids", "routed_experts")
    }
    assert set(choice["message"]) == {
        *("role", "content", "refusal", "annotations", "audio", "function_call", "reasoning")
    }
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", None)
    assert body["system_fingerprint"].startswith("vllm-0.32.0-")


async def test_usage_has_vllms_fields_and_adds_up(standin):
    usage = (await standin.chat("say exactly: one two three"))["usage"]
    assert usage == {
        "prompt_tokens": 6 + 4 + 2,
        "total_tokens": 15,
        "completion_tokens": 3,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }


@pytest.mark.parametrize("asked", ["What is the price?", "risk", "Volatility!", "my portfolio", "Hello", "so what"])
async def test_every_canned_reply_is_marked_and_repeatable(standin, asked):
    first, second = await standin.chat(asked), await standin.chat(asked)
    assert first["choices"] == second["choices"]
    assert first["choices"][0]["message"]["content"].startswith("[stand-in] ")


async def test_a_general_reply_echoes_the_message_and_counts_the_context(standin):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Tell me about tides"},
    ]
    _, body = await standin.post(CHAT, messages=messages)
    text = body["choices"][0]["message"]["content"]
    assert '"Tell me about tides"' in text
    assert "2 messages of context" in text


async def test_say_exactly_answers_the_text_alone(standin):
    body = await standin.chat('say exactly: Grüß Gott,\n "trader" ✓')
    assert body["choices"][0]["message"]["content"] == 'Grüß Gott,\n "trader" ✓'


async def test_repeat_answers_so_many_words_which_are_so_many_tokens(standin):
    body = await standin.chat("repeat 25 words")
    assert len(body["choices"][0]["message"]["content"].split()) == 25
    assert body["usage"]["completion_tokens"] == 25


async def test_text_parts_are_read_as_one_text(standin):
    parts = [{"type": "text", "text": "say exactly: a"}, {"type": "text", "text": "b"}]
    _, body = await standin.post(CHAT, messages=[{"role": "user", "content": parts}])
    assert body["choices"][0]["message"]["content"] == "a\nb"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_output_limit_ends_an_answer_by_length(standin, name):
    body = await standin.chat("repeat 9 words", **{name: 4})
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 4


async def test_an_answer_that_just_fits_ends_by_itself(standin):
    body = await standin.chat("repeat 4 words", max_tokens=4)
    assert body["choices"][0]["finish_reason"] == "stop"


async def test_the_context_limits_the_answer(serve):
    standin = await serve(max_model_len=40)
    body = await standin.chat("repeat 100 words")
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["total_tokens"] == 40


async def test_a_stop_string_is_cut_off_named_and_counted(standin):
    body = await standin.chat("say exactly: buy low END sell", stop=["nothing", " END"])
    choice = body["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"], choice["stop_reason"]) == (
        "buy low",
        "stop",
        " END",
    )
    assert body["usage"]["completion_tokens"] == 3


async def test_a_stop_string_is_kept_on_request(standin):
    body = await standin.chat("say exactly: buy low END sell", stop="END", include_stop_str_in_output=True)
    assert body["choices"][0]["message"]["content"] == "buy low END"


async def test_n_choices_are_numbered_and_counted(standin):
    body = await standin.chat("repeat 3 words", n=2)
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert body["usage"]["completion_tokens"] == 6


async def test_logprobs_describe_every_token(standin):
    body = await standin.chat("say exactly: buy low", logprobs=True, top_logprobs=2)
    content = body["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in content] == ["buy", " low"]
    assert set(content[0]) == {"token", "logprob", "bytes", "top_logprobs"}
    assert [len(entry["top_logprobs"]) for entry in content] == [2, 2]


async def test_the_request_id_header_becomes_the_id(standin):
    body = {"messages": [{"role": "user", "content": "hello"}]}
    async with standin.session.post(standin.url + CHAT, json=body, headers={"X-Request-Id": "abc"}) as response:
        assert (await response.json())["id"] == "chatcmpl-abc"


async def test_tool_outputs_are_quoted_with_the_names_of_their_functions(standin):
    called = [
        {"id": "call_1", "type": "function", "function": {"name": "get_price", "arguments": "{}"}},
        {"id": "call_2", "type": "function", "function": {"name": "get_risk", "arguments": "{}"}},
    ]
    messages = [
        {"role": "user", "content": "price and risk?"},
        {"role": "assistant", "content": None, "tool_calls": called},
        {"role": "tool", "tool_call_id": "call_1", "content": "101.25"},
        {"role": "tool", "tool_call_id": "call_2", "content": "low"},
    ]
    _, body = await standin.post(CHAT, messages=messages)
    text = body["choices"][0]["message"]["content"]
    assert text == '[stand-in] The tools answered: get_price returned "101.25"; get_risk returned "low".'


async def test_unknown_fields_and_roles_are_let_through(standin):
    messages = [{"role": "developer", "content": "x", "name": "y"}, {"role": "user", "content": "hello"}]
    status, _ = await standin.post(CHAT, messages=messages, priority=3, seed=1, user="u", nonsense={})
    assert status == 200
