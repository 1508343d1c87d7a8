"""Counting a prompt by the server's /tokenize: what it answers, and what of servers that have none or refuse."""

import asyncio
import json
from collections.abc import Callable

import pytest

from app.inference.chunks import PromptTokens
from app.inference.client import ModelClient
from app.inference.failures import ModelUnreachable
from tests.fakes import model_wire as wire
from tests.fakes.model_faults import replies, resets
from tests.fakes.model_server import ModelServer

pytestmark = pytest.mark.anyio

MESSAGES = [{"role": "user", "content": wire.SECRET}]
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {}}}]
COUNTED = {"count": 3, "max_model_len": 2048, "tokens": [1, 2, 3], "token_strs": ["<begin>", "Ġa", "b"]}
NO_ROUTE = {"detail": "Not Found"}
NO_MODEL = {
    "error": {"message": "The model `x` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}
}


def body(answer: object) -> bytes:
    return json.dumps(answer).encode()


async def count(client: ModelClient) -> PromptTokens | None:
    async with asyncio.timeout(5):
        return await client.tokenize(wire.MODEL, MESSAGES, TOOLS)


async def test_a_prompt_is_counted_with_its_tools_beside_v1(server: ModelServer, client: ModelClient) -> None:
    server.script.append(replies(200, body(COUNTED)))
    assert await count(client) == PromptTokens(count=3, token_strs=["<begin>", "Ġa", "b"])
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/tokenize")
    assert request.json == {"model": wire.MODEL, "messages": MESSAGES, "tools": TOOLS, "return_token_strs": True}


@pytest.mark.parametrize(
    ("status", "answer"),
    [(404, NO_ROUTE), (405, NO_ROUTE), (501, {}), (200, {"tokens": []}), (200, "pong")],
    ids=["no route", "wrong method", "not implemented", "another server's", "not an object"],
)
async def test_a_server_without_a_tokenizer_is_not_asked_again(
    server: ModelServer, client: ModelClient, status: int, answer: object
) -> None:
    server.script.append(replies(status, body(answer)))
    assert [await count(client), await count(client)] == [None, None]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "answer"),
    [(404, NO_MODEL), (400, {"error": {"message": "Conversation roles must alternate"}}), (500, {}), (503, {})],
    ids=["unknown model", "refused by the template", "broken", "busy"],
)
async def test_a_count_that_was_refused_is_asked_for_the_next_time(
    server: ModelServer, client: ModelClient, status: int, answer: object
) -> None:
    server.script.extend([replies(status, body(answer)), replies(200, body(COUNTED))])
    assert await count(client) is None
    assert await count(client) is not None


async def test_a_server_that_cannot_be_reached_is_no_server_without_a_tokenizer(
    server: ModelServer, client: ModelClient, open_client: Callable[..., ModelClient]
) -> None:
    with pytest.raises(ModelUnreachable):
        await count(open_client("http://127.0.0.1:9/v1"))
    server.script.extend([resets(head=False), replies(200, body(COUNTED))])
    with pytest.raises(ModelUnreachable):
        await count(client)
    assert await count(client) is not None
