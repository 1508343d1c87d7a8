"""Streamed chats: the shape of each chunk as vLLM sends it, and when it is sent."""

import asyncio
import json
import time

import pytest

from .conftest import CHAT

pytestmark = pytest.mark.anyio

CHUNK = {"id", "object", "created", "model", "choices"}


def join(chunks):
    deltas = (choice["delta"] for chunk in chunks for choice in chunk["choices"])
    return "".join(delta.get("content") or "" for delta in deltas)


async def test_a_stream_opens_with_the_role_and_null_prompt_fields(standin):
    first = (await standin.stream_chat("hello"))[0]
    assert set(first) == CHUNK | {"prompt_token_ids", "prompt_text"}
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    ]


async def test_every_token_has_a_chunk_of_its_own(standin):
    chunks = (await standin.stream_chat("repeat 20 words"))[1:-1]
    assert len(chunks) == 20
    for chunk in chunks:
        (choice,) = chunk["choices"]
        assert set(chunk) == CHUNK
        assert set(choice) == {"index", "delta", "logprobs", "finish_reason", "token_ids"}
        assert set(choice["delta"]) == {"content"}
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}


async def test_the_stream_says_what_the_plain_answer_says(standin):
    plain = await standin.chat("Tell me of risk")
    assert join(await standin.stream_chat("Tell me of risk")) == plain["choices"][0]["message"]["content"]


async def test_the_last_chunk_has_an_empty_delta_and_the_fingerprint(standin):
    last = (await standin.stream_chat("hello"))[-1]
    (choice,) = last["choices"]
    assert set(last) == CHUNK | {"system_fingerprint"}
    assert choice["delta"] == {}
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", None)


async def test_an_end_by_length_rides_on_the_last_token(standin):
    chunks = await standin.stream_chat("say exactly: one two three", max_tokens=2)
    (choice,) = chunks[-1]["choices"]
    assert (choice["delta"], choice["finish_reason"]) == ({"content": " two"}, "length")
    assert len(chunks) == 3


async def test_a_stop_string_is_named_in_the_last_chunk(standin):
    chunks = await standin.stream_chat("say exactly: buy END x", stop="END", stream_options={"include_usage": True})
    assert join(chunks) == "buy "
    assert chunks[-2]["choices"][0]["stop_reason"] == "END"
    assert chunks[-1]["usage"]["completion_tokens"] == 2


async def test_an_empty_answer_is_a_role_and_an_end(standin):
    chunks = await standin.stream_chat("say exactly:")
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, "stop"]


async def test_usage_comes_in_a_chunk_without_choices(standin):
    chunks = await standin.stream_chat("repeat 5 words", stream_options={"include_usage": True})
    assert set(chunks[-1]) == CHUNK | {"usage", "system_fingerprint"}
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 9, "total_tokens": 14, "completion_tokens": 5}
    assert all("usage" not in chunk for chunk in chunks[:-1])
    assert "system_fingerprint" not in chunks[-2]


async def test_running_usage_is_on_every_chunk(standin):
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = await standin.stream_chat("repeat 2 words", stream_options=options)
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [0, 1, 2, 2, 2]


async def test_choices_are_streamed_side_by_side(standin):
    chunks = await standin.stream_chat("repeat 2 words", n=2)
    assert [chunk["choices"][0]["index"] for chunk in chunks] == [0, 1, 0, 1, 0, 0, 1, 1]


async def test_logprobs_come_with_their_token(standin):
    chunks = await standin.stream_chat("say exactly: buy low", logprobs=True)
    told = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert [entry and entry["content"][0]["token"] for entry in told] == [None, "buy", " low", None]


async def test_a_stream_is_sent_as_chunked_event_stream(standin):
    body = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
    async with standin.session.post(standin.url + CHAT, json=body) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Transfer-Encoding"] == "chunked"


async def test_a_paced_stream_sends_the_same_as_an_instant_one(serve):
    instant, paced = await serve(), await serve(token_ms=1)
    first, second = await instant.stream_chat("hello"), await paced.stream_chat("hello")
    assert [chunk["choices"] for chunk in first] == [chunk["choices"] for chunk in second]


async def test_tokens_come_at_their_pace_after_the_first(serve):
    standin = await serve(first_token_ms=150, token_ms=10)
    began = time.perf_counter()
    body = {"messages": [{"role": "user", "content": "repeat 20 words"}], "stream": True}
    async with standin.session.post(standin.url + CHAT, json=body) as response:
        headers_s = time.perf_counter() - began
        await response.content.readuntil(b"\n\n")
        first_s = time.perf_counter() - began
        await response.read()
        whole_s = time.perf_counter() - began
    assert headers_s < 0.15 <= first_s
    assert 0.34 <= whole_s < 2.0


async def test_a_stream_waits_for_its_slot_with_its_status_already_sent(serve):
    standin = await serve(token_ms=20, max_num_seqs=1)
    first = asyncio.create_task(standin.stream_chat("repeat 15 words"))
    while await standin.metric("num_requests_running") < 1:
        await asyncio.sleep(0.005)
    body = {"messages": [{"role": "user", "content": "say exactly: x"}], "stream": True}
    async with standin.session.post(standin.url + CHAT, json=body) as response:
        assert response.status == 200
        assert not first.done()
        line = await response.content.readuntil(b"\n\n")
    assert json.loads(line.removeprefix(b"data: "))["choices"]
    await first
