"""An answer of events: as they come, to the end, or until its client has gone."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from app.errors import ApiError
from app.web.events import EventStream, Last

pytestmark = pytest.mark.anyio

Json = dict[str, Any]


class Client:
    """What a server sees of a client: what it is sent, and when it goes away."""

    def __init__(self) -> None:
        self.sent: list[Json] = []
        self.gone = asyncio.Event()

    async def receive(self) -> Json:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Json) -> None:
        self.sent.append(message)

    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def serving(client: Client, frames: AsyncGenerator[bytes, None]) -> "asyncio.Task[None]":
    answer: Callable[..., Any] = EventStream(frames, {"x-made": "yes"}).to_asgi_response(None, None)
    return asyncio.create_task(answer({}, client.receive, client.send))


async def test_events_are_sent_as_they_come_under_the_headers_of_a_stream() -> None:
    client, second = Client(), asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"one"
        await second.wait()
        yield b"two"

    task = serving(client, frames())
    while client.body() != b"one":
        await asyncio.sleep(0)
    assert client.sent[0]["status"] == 200
    assert dict(client.sent[0]["headers"]) == {
        b"content-type": b"text/event-stream; charset=utf-8",
        b"cache-control": b"no-store",
        b"x-accel-buffering": b"no",
        b"x-made": b"yes",
    }
    second.set()
    await task
    assert client.body() == b"onetwo"
    assert [message.get("more_body") for message in client.sent] == [None, True, True, False]


async def test_the_last_event_goes_out_with_the_end_of_the_answer() -> None:
    client, closed = Client(), asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            yield b"one"
            yield Last(b"two")
            yield b"never"
        finally:
            closed.set()

    await serving(client, frames())
    assert [(message["body"], message["more_body"]) for message in client.sent[1:]] == [(b"one", True), (b"two", False)]
    assert closed.is_set()


async def test_a_client_that_goes_away_ends_it_and_what_makes_the_events_is_told() -> None:
    client, closed = Client(), asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            closed.set()

    task = serving(client, frames())
    while client.body() != b"one":
        await asyncio.sleep(0)
    client.gone.set()
    await asyncio.wait_for(task, 5)
    assert closed.is_set()
    assert client.sent[-1]["more_body"] is True


async def test_so_does_one_that_has_gone_before_the_first_event() -> None:
    client, closed = Client(), asyncio.Event()
    client.gone.set()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            await asyncio.Event().wait()
            yield b"never"
        finally:
            closed.set()

    await asyncio.wait_for(serving(client, frames()), 5)
    assert closed.is_set()


async def test_a_server_that_stops_is_not_taken_for_a_client_that_goes() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        await asyncio.Event().wait()
        yield b"never"

    task = serving(Client(), frames())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("fault", "told"), [(ApiError("Refused."), b"Refused."), (ValueError("x"), b"server had an error")]
)
async def test_what_breaks_is_told_as_the_last_event(fault: Exception, told: bytes) -> None:
    client = Client()

    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"one"
        raise fault

    await serving(client, frames())
    assert client.body().startswith(b"oneevent: error\n")
    assert told in client.body()
    assert client.sent[-1]["more_body"] is False
