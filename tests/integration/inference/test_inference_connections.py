"""The client's connections: kept between calls, given up in time, and closed at once when nobody wants the answer."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from app.inference.client import ModelClient
from app.inference.failures import ModelUnreachable
from app.inference.wire import KEEPALIVE_S
from tests.fakes import model_wire as wire
from tests.fakes.model_faults import cuts, replies, resets, sends, stalls, streams
from tests.fakes.model_server import IDLE_CLOSE_S, Behaviour, Exchange, ModelServer, model_server
from tests.integration.inference.asking import REQUEST, ask, ask_in_vain, said

pytestmark = pytest.mark.anyio

AT_ONCE_S = 0.1
"""Within this the engine must be free again."""
SCALED_IDLE_CLOSE_S = 0.15
"""vLLM's 5 s, scaled down."""


@pytest.fixture
async def impatient(anyio_backend: str) -> AsyncIterator[ModelServer]:
    """Give a server that closes idle connections after a moment."""
    async with model_server(idle_close_s=SCALED_IDLE_CLOSE_S) as running:
        yield running


async def test_sequential_streams_share_one_connection(server: ModelServer, client: ModelClient) -> None:
    for _ in range(20):
        assert said(await ask(client)) == "hello there"
    assert len(server.requests) == 20
    assert len(server.connections) == 1


@pytest.mark.parametrize("whole_end", [True, False], ids=["end in the same write", "end in a later write"])
async def test_a_stream_is_whole_before_its_connection_is_used_again(
    server: ModelServer, client: ModelClient, whole_end: bool
) -> None:
    late = (wire.answer("a"),) if whole_end else (wire.answer("a")[: -len(wire.DONE)], wire.DONE)
    server.script.extend([sends(*late)] * 3)
    for _ in range(3):
        await ask(client)
    assert len(server.connections) == 1


async def test_streams_at_once_have_a_connection_each_and_give_them_back(
    server: ModelServer, client: ModelClient
) -> None:
    for _ in range(2):
        server.script.extend([streams("a", "b")] * 50)
        answers = await asyncio.gather(*(ask(client) for _ in range(50)))
        assert [said(chunks) for chunks in answers] == ["ab"] * 50
    assert len(server.connections) == 50


def test_an_idle_connection_is_given_up_before_vllm_closes_it() -> None:
    assert 0 < KEEPALIVE_S < IDLE_CLOSE_S


async def test_a_server_that_closes_idle_connections_costs_no_call(
    impatient: ModelServer, open_client: Callable[..., ModelClient]
) -> None:
    client = open_client(impatient.url)
    for number in range(1, 4):
        assert said(await ask(client)) == "hello there"
        await impatient.requests[-1].client_left(timeout_s=1)
        await asyncio.sleep(0.02)  # the FIN is on its way
        assert len(impatient.connections) == number


@pytest.mark.parametrize("broke", [cuts(head=False), resets(head=False)], ids=["closed", "RST"])
async def test_a_kept_connection_that_breaks_as_it_is_used_again_costs_no_call(
    server: ModelServer, client: ModelClient, broke: Behaviour
) -> None:
    await ask(client)
    server.script.append(broke)
    assert said(await ask(client)) == "hello there"
    assert [len(server.requests), len(server.connections)] == [3, 2]


async def test_a_server_that_breaks_every_request_is_asked_once_on_a_new_connection(
    server: ModelServer, client: ModelClient
) -> None:
    await ask(client)
    server.script.extend([cuts(head=False)] * 10)
    for asked in (3, 4):  # the first of them on a kept connection, too
        _, failure = await ask_in_vain(client)
        assert type(failure) is ModelUnreachable
        assert len(server.requests) == asked


async def read_until_cancelled(client: ModelClient) -> None:
    async with client.stream(REQUEST) as batches:
        async for _ in batches:
            pass


MOMENTS: dict[str, Behaviour] = {
    "before the head": stalls(head=False),
    "before the first token": stalls(),
    "between tokens": stalls(wire.role(), wire.text("half")),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_cancelled_call_closes_its_connection_at_once(
    server: ModelServer, client: ModelClient, moment: str
) -> None:
    server.script.append(MOMENTS[moment])
    reading = asyncio.create_task(read_until_cancelled(client))
    exchange = await server.request()
    await asyncio.sleep(0.02)
    assert not exchange.connection.closed.is_set()
    cancelled_at = asyncio.get_running_loop().time()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await exchange.client_left() - cancelled_at < AT_ONCE_S


async def test_a_stream_that_is_left_closes_its_connection_at_once(server: ModelServer, client: ModelClient) -> None:
    server.script.append(stalls(wire.role(), wire.text("half")))
    async with client.stream(REQUEST) as batches:
        await anext(batches)
        left_at = asyncio.get_running_loop().time()
    assert await server.requests[0].client_left() - left_at < AT_ONCE_S


async def test_a_stream_that_pours_is_left_at_once_too(server: ModelServer, client: ModelClient) -> None:
    async def pours(exchange: Exchange) -> None:
        await exchange.begin()
        while True:
            await exchange.send(wire.text("word ") * 100)

    server.script.append(pours)
    async with client.stream(REQUEST) as batches:
        await anext(batches)
        left_at = asyncio.get_running_loop().time()
    assert await server.requests[0].client_left() - left_at < AT_ONCE_S


async def test_a_cancelled_call_leaves_the_others_alone(server: ModelServer, client: ModelClient) -> None:
    server.script.extend([stalls(wire.role()), streams("a", "b")])
    reading = asyncio.create_task(read_until_cancelled(client))
    await server.request()
    async with client.stream(REQUEST) as batches:
        reading.cancel()
        assert "".join([said(list(batch)) async for batch in batches]) == "ab"


async def test_a_server_that_does_not_end_its_answer_after_done_is_left(
    server: ModelServer, client: ModelClient
) -> None:
    server.script.append(stalls(wire.answer("hello")))
    async with asyncio.timeout(2):
        assert said(await ask(client)) == "hello"
    await server.requests[0].client_left(timeout_s=1)


async def test_refusals_leak_no_connection(server: ModelServer, client: ModelClient) -> None:
    server.script.extend([replies(*wire.REFUSALS["queue full"])] * 20)
    for _ in range(20):
        await ask_in_vain(client)
    await asyncio.sleep(0.02)
    assert server.open_connections <= 1


async def test_broken_streams_leak_no_connection(server: ModelServer, client: ModelClient) -> None:
    server.script.extend([sends(wire.text("half"), wire.died(), wire.DONE), sends(b"data: {\n\n")] * 5)
    for _ in range(10):
        await ask_in_vain(client)
    await asyncio.sleep(0.02)
    assert server.open_connections <= 1


async def test_a_closed_client_holds_no_connection_and_may_be_used_again(
    server: ModelServer, client: ModelClient
) -> None:
    await ask(client)
    await client.close()
    await server.requests[0].client_left(timeout_s=1)
    assert said(await ask(client)) == "hello there"
