"""Every way in which a model server fails: the right failure, what was said before it, and no word of the prompt."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from app.inference.client import ModelClient
from app.inference.failures import (
    ModelBroke,
    ModelBusy,
    ModelFailure,
    ModelTimedOut,
    ModelUnknown,
    ModelUnreachable,
    PromptTooLong,
    failure_of_answer,
)
from tests.fakes import model_wire as wire
from tests.fakes.model_faults import babbles, cuts, replies, resets, sends, stalls, trickles
from tests.fakes.model_server import Behaviour, Exchange, ModelServer, deaf_url, refusing_url
from tests.integration.inference.asking import ask, ask_in_vain, said

pytestmark = pytest.mark.anyio

HALF = (wire.role(), wire.text("half "), wire.text("an answer"))
BROKEN: dict[str, tuple[Behaviour, type[ModelFailure], str]] = {
    "RST before the head": (resets(head=False), ModelUnreachable, ""),
    "closed before the head": (cuts(head=False), ModelUnreachable, ""),
    "not HTTP": (babbles(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), ModelBroke, ""),
    "half a head": (babbles(b"HTTP/1.1 200 OK\r\ncontent-ty"), ModelUnreachable, ""),
    "RST after the head": (resets(), ModelBroke, ""),
    "closed after the head": (cuts(), ModelBroke, ""),
    "RST in the middle": (resets(*HALF), ModelBroke, "half an answer"),
    "closed in the middle": (cuts(*HALF), ModelBroke, "half an answer"),
    "an answer without [DONE]": (sends(*HALF), ModelBroke, "half an answer"),
    "nothing at all": (sends(), ModelBroke, ""),
    "a chunk that is no JSON": (sends(*HALF, b"data: {oops\n\n", wire.DONE), ModelBroke, "half an answer"),
    "a chunk of another wire": (sends(*HALF, wire.event({"choices": "no"}), wire.DONE), ModelBroke, "half an answer"),
    "invalid UTF-8": (sends(*HALF, wire.text("ö").replace(b"\xc3", b"\xff"), wire.DONE), ModelBroke, "half an answer"),
    "a page of HTML": (sends(b"<html><body>Welcome to nginx</body></html>\n"), ModelBroke, ""),
    "the engine's death": (sends(*HALF, wire.died(), wire.DONE), ModelBroke, "half an answer"),
    "the engine's death in one read": (sends(b"".join(HALF) + wire.died() + wire.DONE), ModelBroke, "half an answer"),
    "chunked framing that is none": (
        babbles(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n"),
        ModelBroke,
        "",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_broken_stream_is_the_right_failure_and_keeps_what_was_said(
    server: ModelServer, client: ModelClient, case: str
) -> None:
    behaviour, kind, kept = BROKEN[case]
    server.script.extend([behaviour] * 2)  # one that breaks before it answers may be asked twice
    before, failure = await ask_in_vain(client)
    assert (type(failure), before) == (kind, kept)
    assert wire.SECRET not in failure.message
    assert len(server.requests) <= 2


REFUSED = {
    "no key or a wrong one": ModelBroke,
    "unknown model": ModelUnknown,
    "prompt too long": PromptTooLong,
    "queue full": ModelBusy,
    "engine died": ModelBroke,
}


@pytest.mark.parametrize("writes", [1, 3], ids=["one write", "three writes"])
@pytest.mark.parametrize("case", REFUSED)
async def test_a_refusal_is_read_whole_however_it_is_sent(
    server: ModelServer, client: ModelClient, case: str, writes: int
) -> None:
    server.script.append(replies(*wire.REFUSALS[case], writes=writes))
    _, failure = await ask_in_vain(client)
    assert type(failure) is REFUSED[case]
    assert failure.message == failure_of_answer(*wire.REFUSALS[case]).message
    assert len(server.requests) == 1


async def test_nobody_listens(open_client: Callable[..., ModelClient]) -> None:
    _, failure = await ask_in_vain(open_client(refusing_url()))
    assert (type(failure), failure.message) == (ModelUnreachable, "The model server cannot be reached.")


async def test_a_name_that_does_not_resolve(open_client: Callable[..., ModelClient]) -> None:
    _, failure = await ask_in_vain(open_client("http://no-such-host.invalid/v1"))
    assert type(failure) is ModelUnreachable


async def promises_an_error(exchange: Exchange) -> None:
    """Announce an error's body and send a part of it."""
    await exchange.write(b'HTTP/1.1 500 X\r\ncontent-length: 99\r\n\r\n{"error":')
    await exchange.connection.closed.wait()


SLOW: dict[str, tuple[Behaviour, dict[str, Any], str]] = {
    "no head": (stalls(head=False), {"first_token_timeout_s": 0.15}, ""),
    "no first token": (stalls(), {"first_token_timeout_s": 0.15}, ""),
    "a stall between tokens": (stalls(*HALF), {"idle_timeout_s": 0.15}, "half an answer"),
    "an error whose body does not come": (
        promises_an_error,
        {"first_token_timeout_s": 0.15},
        "",
    ),
}


@pytest.mark.parametrize("case", SLOW)
async def test_a_silent_server_is_given_up_in_time_and_freed(
    server: ModelServer, open_client: Callable[..., ModelClient], case: str
) -> None:
    behaviour, timeouts, kept = SLOW[case]
    server.script.append(behaviour)
    began = time.monotonic()
    before, failure = await ask_in_vain(open_client(server.url, **timeouts))
    assert (type(failure), before) == (ModelTimedOut, kept)
    assert 0.14 < time.monotonic() - began < 1.5
    await server.requests[0].client_left(timeout_s=1)


async def test_a_host_that_does_not_answer_is_given_up_after_the_connect_timeout(
    open_client: Callable[..., ModelClient],
) -> None:
    with deaf_url() as url:
        began = time.monotonic()
        _, failure = await ask_in_vain(open_client(url, connect_timeout_s=0.15))
        assert type(failure) is ModelUnreachable
        assert 0.14 < time.monotonic() - began < 1.5


async def test_a_slow_stream_that_never_stalls_is_read_to_its_end(
    server: ModelServer, open_client: Callable[..., ModelClient]
) -> None:
    server.script.append(trickles(*HALF, wire.finish(), wire.DONE, every_s=0.12))
    client = open_client(server.url, idle_timeout_s=0.3, first_token_timeout_s=0.3)
    assert said(await ask(client)) == "half an answer"


async def test_the_first_token_may_take_longer_than_those_after_it(
    server: ModelServer, open_client: Callable[..., ModelClient]
) -> None:
    server.script.append(trickles(b": thinking\n\n", wire.answer("at last"), every_s=0.3))
    assert said(await ask(open_client(server.url, idle_timeout_s=0.1))) == "at last"


async def test_a_list_that_does_not_come_is_given_up(server: ModelServer, client: ModelClient) -> None:
    server.listing = cuts(head=False)
    with pytest.raises(ModelUnreachable):
        await client.models()
