"""Text completions, embeddings and /tokenize."""

import base64
import math
import struct

import pytest

from ops.standin import tokens

from .conftest import CHAT

pytestmark = pytest.mark.anyio

COMPLETIONS = "/v1/completions"
CHUNK = {"id", "object", "created", "model", "choices"}


async def test_a_text_completion_has_vllms_fields_and_default_limit(standin):
    _, body = await standin.post(COMPLETIONS, prompt="repeat 50 words")
    (choice,) = body["choices"]
    nulls = {"service_tier", "kv_transfer_params", "ec_transfer_params", "metrics"}
    assert set(body) == CHUNK | {"system_fingerprint", "usage"} | nulls
    assert body["object"] == "text_completion"
    assert set(choice) == {
        *("index", "text", "logprobs", "finish_reason", "stop_reason"),
        *("token_ids", "prompt_logprobs", "prompt_token_ids", "routed_experts"),
    }
    assert (choice["finish_reason"], body["usage"]["completion_tokens"]) == ("length", 16)


async def test_a_text_stream_has_no_role_and_ends_like_vllms(standin):
    chunks = await standin.stream(COMPLETIONS, prompt="say exactly: buy low", stream_options={"include_usage": True})
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [choice["text"] for choice in choices] == ["buy", " low", ""]
    assert {frozenset(choice) for choice in choices} == {
        frozenset(("index", "text", "logprobs", "finish_reason", "stop_reason", "prompt_token_ids", "token_ids"))
    }
    assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]
    assert chunks[-1]["usage"] == {"prompt_tokens": 5, "total_tokens": 7, "completion_tokens": 2}


async def test_several_prompts_are_continued_side_by_side(standin):
    prompts = ["say exactly: a", "repeat 3 words"]
    _, body = await standin.post(COMPLETIONS, prompt=prompts, n=2)
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert [choice["text"] for choice in body["choices"]] == ["a", "a", "buy hold sell", "buy hold sell"]
    chunks = await standin.stream(COMPLETIONS, prompt=prompts)
    texts = dict.fromkeys((0, 1), "")
    for chunk in chunks:
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert texts == {0: "a", 1: "buy hold sell"}


@pytest.mark.parametrize(("prompt", "size"), [([1, 2, 3], 3), ([[1, 2], [3]], 3), ("a b", 2)])
async def test_a_prompt_may_be_token_ids(standin, prompt, size):
    _, body = await standin.post(COMPLETIONS, prompt=prompt)
    assert body["usage"]["prompt_tokens"] == size


async def test_a_prompt_can_be_echoed(standin):
    _, body = await standin.post(COMPLETIONS, prompt="say exactly: x", echo=True)
    chunks = await standin.stream(COMPLETIONS, prompt="say exactly: x", echo=True)
    assert body["choices"][0]["text"] == "say exactly: xx"
    assert chunks[0]["choices"][0]["text"] == "say exactly: xx"


async def test_text_logprobs_are_in_the_older_form(standin):
    _, body = await standin.post(COMPLETIONS, prompt="say exactly: buy low", logprobs=1)
    logprobs = body["choices"][0]["logprobs"]
    assert set(logprobs) == {"text_offset", "token_logprobs", "tokens", "top_logprobs"}
    assert (logprobs["tokens"], logprobs["text_offset"]) == (["buy", " low"], [0, 3])


@pytest.mark.parametrize("prompt", [None, "", []])
async def test_an_empty_prompt_is_refused(standin, prompt):
    status, body = await standin.post(COMPLETIONS, prompt=prompt)
    assert (status, body["error"]["param"]) == (400, "prompt")


async def test_embeddings_are_unit_vectors_that_depend_on_the_text_alone(standin):
    _, body = await standin.post("/v1/embeddings", input=["buy gold", "buy gold", "sell tin"])
    first, same, other = (entry["embedding"] for entry in body["data"])
    assert set(body) == {"id", "object", "created", "model", "data", "usage"}
    assert [entry["index"] for entry in body["data"]] == [0, 1, 2]
    assert math.isclose(math.hypot(*first), 1.0)
    assert first == same != other
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] == 6


async def test_texts_that_share_words_lie_closer(standin):
    texts = ["the price of gold rose", "gold price today", "weather in the mountains"]
    _, body = await standin.post("/v1/embeddings", input=texts)
    gold, also_gold, weather = (entry["embedding"] for entry in body["data"])
    assert sum(map(float.__mul__, gold, also_gold)) > sum(map(float.__mul__, gold, weather))


async def test_base64_embeddings_are_the_same_floats(standin):
    _, floats = await standin.post("/v1/embeddings", input="buy gold", dimensions=8)
    _, packed = await standin.post("/v1/embeddings", input="buy gold", dimensions=8, encoding_format="base64")
    data = base64.b64decode(packed["data"][0]["embedding"])
    assert struct.unpack("<8f", data) == pytest.approx(floats["data"][0]["embedding"])


async def test_dimensions_must_be_positive(standin):
    status, body = await standin.post("/v1/embeddings", input="x", dimensions=0)
    assert (status, body["error"]["param"]) == (400, "dimensions")


async def test_tokenize_counts_a_prompt(standin):
    _, body = await standin.post("/tokenize", prompt="Buy low, sell high")
    assert list(body) == ["count", "max_model_len", "tokens", "token_strs"]
    assert (body["count"], body["max_model_len"], body["token_strs"]) == (5, 8192, None)
    assert len(body["tokens"]) == 5


async def test_tokenize_shows_its_tokens_on_request(standin):
    _, body = await standin.post("/tokenize", prompt="Buy low, sell", return_token_strs=True)
    assert body["token_strs"] == ["Buy", " low", ",", " sell"]


async def test_tokenize_counts_a_chat_as_its_completion_does(standin):
    tools = [{"type": "function", "function": {"name": "get_x", "parameters": {"type": "object"}}}]
    called = [{"id": "c", "type": "function", "function": {"name": "get_x", "arguments": '{"a": 1}'}}]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": None, "tool_calls": called},
        {"role": "user", "content": "hello"},
    ]
    _, completion = await standin.post(CHAT, messages=messages, tools=tools)
    _, whole = await standin.post("/tokenize", messages=messages, tools=tools)
    _, closed = await standin.post("/tokenize", messages=messages, tools=tools, add_generation_prompt=False)
    assert whole["count"] == len(whole["tokens"]) == completion["usage"]["prompt_tokens"]
    assert closed["count"] == whole["count"] - 2
    _, shown = await standin.post("/tokenize", messages=messages, tools=tools, return_token_strs=True)
    assert len(shown["token_strs"]) == shown["count"] == whole["count"]
    assert "".join(shown["token_strs"]).endswith("<|3|>hello<|4|><|5|>")


async def test_tokenize_needs_something_to_tokenize(standin):
    status, body = await standin.post("/tokenize")
    assert (status, body["error"]["type"]) == (400, "Bad Request")


@pytest.mark.parametrize("text", ["", " ", "a  b\n\tc", "don't", "x" * 40, "Ünïcode — 日本語 🙂", "3.14%"])
def test_tokens_join_to_the_text_again(text):
    assert "".join(tokens.split(text)) == text
    assert all(len(piece) <= tokens.CHARS_PER_TOKEN for piece in tokens.split(text))
    assert tokens.count(text) == len(tokens.split(text)) == len(tokens.identify(text))
