"""HTTP as servers and proxies speak it: ends without a length, heads before the head, too much of everything."""

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable

import pytest

from app.inference.client import ModelClient
from app.inference.exchange import BUFFER_BYTES, HEAD_LIMIT_BYTES
from app.inference.failures import ModelBroke, ModelFailure
from app.inference.wire import Wire
from tests.fakes.model_faults import replies
from tests.fakes.model_server import Behaviour, Exchange, ModelServer

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ANSWER = b'{"id":"chatcmpl-1"}'
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(ANSWER) + ANSWER


def writes(*pieces: bytes, leave: bool = False) -> Behaviour:
    """Put these bytes on the wire, each by itself, and then perhaps close."""

    async def behave(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.write(piece)
            await asyncio.sleep(0.005)
        if leave:
            await exchange.leave()

    return behave


async def answer_of(client: ModelClient) -> tuple[int, str, bytes]:
    async with client.forward("/chat/completions", b"{}") as answer:
        return answer.status, answer.content_type, await answer.read()


@pytest.mark.parametrize(
    ("pieces", "leave", "connections"),
    [
        ((WHOLE,), False, 1),
        (tuple(WHOLE[at : at + 1] for at in range(len(WHOLE))), False, 1),
        ((b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", WHOLE), False, 1),
        (
            (HEAD + b"transfer-encoding: chunked\r\n\r\n13\r\n" + ANSWER + b"\r\n0\r\ncontent-type: x\r\n\r\n",),
            False,
            1,
        ),
        ((HEAD + b"connection: close\r\n\r\n" + ANSWER[:5], ANSWER[5:]), True, 2),
        ((HEAD.replace(b"1.1", b"1.0") + b"\r\n" + ANSWER,), True, 2),
        ((WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),), False, 2),
        ((WHOLE + WHOLE,), False, 2),
        ((WHOLE, b"and more"), False, 2),
    ],
    ids=[
        *("with a length", "byte by byte", "after another head", "with a trailer", "until the end"),
        *("HTTP/1.0", "and not kept", "said twice", "with something behind it"),
    ],
)
async def test_an_answer_is_read_however_it_ends(
    server: ModelServer, client: ModelClient, pieces: tuple[bytes, ...], leave: bool, connections: int
) -> None:
    server.script.extend([writes(*pieces, leave=leave)])
    assert await answer_of(client) == (200, "application/json", ANSWER)
    await asyncio.sleep(0.02)
    server.script.append(replies(200, ANSWER))
    assert await answer_of(client) == (200, "application/json", ANSWER)
    assert len(server.connections) == connections


@pytest.mark.parametrize(
    "pieces",
    [
        (b"SSH-2.0-OpenSSH\r\n",),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",),
        (HEAD + b"content-length: many\r\n\r\n",),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nnothing\r\n",),
        (HEAD, b"x-long: " + b"x" * HEAD_LIMIT_BYTES),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * (HEAD_LIMIT_BYTES // 27 + 1),),
    ],
    ids=["another protocol", "a switch", "a length that is none", "chunks that are none", "a long head", "no head"],
)
async def test_what_is_no_answer_breaks_the_call_and_its_connection(
    server: ModelServer, client: ModelClient, pieces: tuple[bytes, ...]
) -> None:
    server.script.append(writes(*pieces))
    with pytest.raises(ModelBroke):
        await answer_of(client)
    await server.requests[0].client_left(timeout_s=1)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "head",
    [HEAD + b"content-length: 99\r\n\r\n", HEAD + b"transfer-encoding: chunked\r\n\r\nff\r\n"],
    ids=["with a length", "in chunks"],
)
async def test_an_answer_that_ends_before_its_length_is_no_answer(
    server: ModelServer, client: ModelClient, head: bytes
) -> None:
    server.script.append(writes(head + ANSWER, leave=True))
    with pytest.raises(ModelBroke):
        await answer_of(client)


async def test_no_more_is_taken_in_than_its_reader_takes(server: ModelServer, client: ModelClient) -> None:
    size = 128 * BUFFER_BYTES  # twice over what sockets hold between them
    written = 0

    async def pours(exchange: Exchange) -> None:
        nonlocal written
        await exchange.write(HEAD + b"content-length: %d\r\n\r\n" % size)
        while written < size:
            await exchange.write(b"x" * BUFFER_BYTES)
            written += BUFFER_BYTES

    server.script.append(pours)
    async with client.forward("/chat/completions", b"{}") as answer:
        before = -1
        while written != before:  # until the server cannot write any more
            before = written
            await asyncio.sleep(0.1)
        assert written < size // 2
        assert len(await answer.read()) == size


async def test_a_request_says_whose_it_is_and_how_long(
    server: ModelServer, open_client: Callable[..., ModelClient]
) -> None:
    body = json.dumps({"text": "ü" * 100_000}).encode()
    client = open_client(server.url.replace("//", "//user:p%40ss@"))
    async with client.forward("/chat/completions", body, "chatcmpl-abc"):
        pass
    [request] = server.requests
    assert request.body == body
    assert request.headers == {
        "host": server.url.removeprefix("http://").removesuffix("/v1"),
        "accept-encoding": "identity",
        "authorization": "Basic " + b64encode(b"user:p@ss").decode(),
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-request-id": "abc",
    }


@pytest.fixture
async def wire(server: ModelServer) -> AsyncIterator[Wire]:
    wire = Wire(server.url, api_key="sk-x", connect_timeout_s=5, keepalive_s=0.1)
    yield wire
    wire.close()


async def test_a_connection_that_nobody_uses_is_closed(server: ModelServer, wire: Wire) -> None:
    answers = [await wire.ask("GET", "/v1/models") for _ in range(3)]
    for answer in answers:
        await answer.read()
        wire.release(answer)
    assert server.open_connections == 3
    await server.requests[-1].client_left(timeout_s=1)
    assert server.open_connections == 0


async def test_a_connection_that_is_too_old_is_not_used_again(server: ModelServer, wire: Wire) -> None:
    first = await wire.ask("GET", "/v1/models")
    await first.read()
    wire.release(first)
    time.sleep(0.15)  # nothing may run that would close it
    await wire.ask("GET", "/v1/models")
    assert len(server.connections) == 2


async def test_a_closed_wire_ends_what_is_under_way(server: ModelServer, wire: Wire) -> None:
    server.script.append(writes(HEAD + b"content-length: 99\r\n\r\n"))
    answer = await wire.ask("POST", "/v1/chat/completions", b"{}")
    reading = asyncio.create_task(answer.read())
    await asyncio.sleep(0)
    wire.close()
    with pytest.raises(ModelFailure):
        await reading
    await server.requests[-1].client_left(timeout_s=1)
