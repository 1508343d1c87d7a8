"""Streams that go well: what is sent, what is read of them however the bytes come, and the list of models."""

import json
from collections.abc import Callable

import pytest

from app.inference.client import ChatRequest, ModelClient
from app.inference.failures import ModelBroke, ModelFailure, ModelUnknown
from tests.fakes import model_wire as wire
from tests.fakes.model_faults import replies, sends, streams
from tests.fakes.model_server import ModelServer
from tests.integration.inference.asking import REQUEST, ask, said

pytestmark = pytest.mark.anyio


async def test_a_stream_is_read_to_its_end(server: ModelServer, client: ModelClient) -> None:
    server.script.append(streams("hel", "lo, ", "wörld"))
    chunks = await ask(client)
    assert said(chunks) == "hello, wörld"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    counted = chunks[-1].usage
    assert counted is not None
    assert (counted.prompt_tokens, counted.completion_tokens) == (wire.PROMPT_TOKENS, 3)


async def test_the_request_is_a_stream_that_counts_its_tokens_and_leaves_out_what_was_not_said(
    server: ModelServer, open_client: Callable[..., ModelClient]
) -> None:
    await ask(open_client(server.url + "/", api_key="sk-upstream"))
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer sk-upstream"
    assert request.headers["content-type"] == "application/json"
    assert request.json == {
        "model": wire.MODEL,
        "messages": REQUEST.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_what_was_said_is_sent_also_when_it_is_zero_or_false(server: ModelServer, client: ModelClient) -> None:
    wanted = {"temperature": 0.0, "max_tokens": 300, "tool_choice": "none", "parallel_tool_calls": False}
    await ask(client, ChatRequest(model="m", messages=[], **wanted))
    sent = server.requests[0].json
    assert {name: sent[name] for name in wanted} == wanted


async def test_without_a_key_none_is_sent(server: ModelServer, client: ModelClient) -> None:
    await ask(client)
    assert "authorization" not in server.requests[0].headers


ANSWER = wire.answer("hello", " wörld")


@pytest.mark.parametrize(
    "writes",
    [
        pytest.param([ANSWER], id="all in one write"),
        pytest.param([ANSWER[:70], ANSWER[70:]], id="half a line over two writes"),
        pytest.param([ANSWER[at : at + 97] for at in range(0, len(ANSWER), 97)], id="in pieces of 97 bytes"),
        pytest.param([ANSWER.replace(b"\n", b"\r\n")], id="lines that end in CRLF"),
        pytest.param([b": ping\n\n" + ANSWER.replace(b"data: [", b": ping\n\ndata: [")], id="with comments"),
        pytest.param([ANSWER.replace(b"data: ", b"data:")], id="without the blank after data:"),
        pytest.param([b"event: message\nid: 1\n" + ANSWER], id="with fields that nobody asked for"),
        pytest.param([ANSWER, wire.text("late")], id="with more after [DONE]"),
    ],
)
async def test_an_answer_is_the_same_however_it_is_sent(
    server: ModelServer, client: ModelClient, writes: list[bytes]
) -> None:
    server.script.append(sends(*writes))
    assert said(await ask(client)) == "hello wörld"


async def test_half_a_letter_in_each_of_two_writes_is_one_letter(server: ModelServer, client: ModelClient) -> None:
    at = ANSWER.index("ö".encode()) + 1
    server.script.append(sends(ANSWER[:at], ANSWER[at:]))
    assert said(await ask(client)) == "hello wörld"


async def test_chunks_of_one_read_come_together_and_others_as_they_arrive(
    server: ModelServer, client: ModelClient
) -> None:
    server.script.append(sends(wire.role() + wire.text("a") + wire.text("b"), wire.text("c"), wire.finish(), wire.DONE))
    async with client.stream(REQUEST) as batches:
        assert [said(list(batch)) async for batch in batches] == ["ab", "c", ""]


async def test_a_server_that_counts_nothing_is_read(server: ModelServer, client: ModelClient) -> None:
    server.script.append(sends(wire.text("hello"), wire.finish(), wire.DONE))
    chunks = await ask(client)
    assert said(chunks) == "hello"
    assert [chunk.usage for chunk in chunks] == [None, None]


async def test_a_chunk_of_a_million_letters_is_read(server: ModelServer, client: ModelClient) -> None:
    server.script.append(sends(wire.answer("x" * 1_000_000)))
    assert len(said(await ask(client))) == 1_000_000


async def test_models_are_listed_with_their_windows(server: ModelServer, client: ModelClient) -> None:
    server.listing = replies(200, wire.models("tiny", "adapter", max_model_len=2048))
    listed = await client.models()
    assert [(model.id, model.max_model_len) for model in listed.data] == [("tiny", 2048), ("adapter", 2048)]


async def test_the_list_is_asked_for_with_the_key(server: ModelServer, open_client: Callable[..., ModelClient]) -> None:
    await open_client(server.url, api_key="sk-upstream").models()
    assert server.requests[0].headers["authorization"] == "Bearer sk-upstream"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(401, b'{"error":"Unauthorized"}', ModelBroke, id="wrong key"),
        pytest.param(404, b'{"detail":"Not Found"}', ModelUnknown, id="no such path"),
        pytest.param(200, b"<html>", ModelBroke, id="not JSON"),
        pytest.param(200, b'{"data":[{"id":"\xff"}]}', ModelBroke, id="not UTF-8"),
        pytest.param(200, json.dumps({"data": [{"name": "tiny"}]}).encode(), ModelBroke, id="another wire"),
    ],
)
async def test_a_list_that_is_none_is_a_failure_of_the_server(
    server: ModelServer, client: ModelClient, status: int, body: bytes, kind: type[ModelFailure]
) -> None:
    server.listing = replies(status, body)
    with pytest.raises(kind):
        await client.models()
