"""Relays a request to the model server and its answer to the client, byte for byte but for what a gateway must change:
the model's name, and a usage that is read for limits and withheld from a client that did not ask for it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import msgspec
from msgspec import Raw, Struct

from app.chat.passing import EventTooLong, Passing
from app.chat.refusals import RETRY_AFTER_S, error_in_stream, error_of_answer, error_of_failure
from app.chat.schemas import Relayed
from app.errors import ApiError, Unavailable
from app.inference.chunks import Usage
from app.inference.client import Forwarded, ModelClient
from app.inference.failures import UNREADABLE, ModelBroke, ModelFailure
from app.kit.wire import Foreign
from app.limits.limiter import Reservation
from app.web.asgi import Receive, Scope, Send
from app.web.errors import envelope

CHARACTERS_PER_TOKEN = 4
STOPPING = "The server is stopping. Try again in a moment."
STREAM = "text/event-stream"
FIELDS = msgspec.json.Decoder(dict[str, Raw])
OURS = ("thread_id", "store", "metadata")
"""Fields that mean something here and nothing to a model server."""


class Counted(Foreign, kw_only=True, frozen=True):
    """An answer's usage."""

    usage: Usage | None = None


decode_counted = msgspec.json.Decoder(Counted).decode


class Request(Struct, frozen=True, kw_only=True):
    """A request ready to be sent: where, what, and what of the answer is the client's."""

    client: ModelClient
    path: str
    body: bytes
    streams: bool
    with_usage: bool
    headers: Mapping[str, str] = {}


def rewritten(body: bytes, asked: Relayed, name: str) -> bytes:
    """Return a body for the model server: under the name that it knows, and asking for the usage of a stream."""
    fields = FIELDS.decode(body)
    for ours in OURS:
        fields.pop(ours, None)
    fields["model"] = Raw(msgspec.json.encode(name))
    if asked.stream:
        options = msgspec.json.decode(fields["stream_options"]) if asked.stream_options is not None else {}
        fields["stream_options"] = Raw(msgspec.json.encode({**options, "include_usage": True}))
    return msgspec.json.encode(fields)


class Relays:
    """The answers that are being relayed, to be ended when the server stops."""

    def __init__(self) -> None:
        self._open: set[Relay] = set()
        self._changed = asyncio.Event()

    def add(self, relay: "Relay") -> None:
        """Note one that begins."""
        self._open.add(relay)

    def remove(self, relay: "Relay") -> None:
        """Note one that is over."""
        self._open.discard(relay)
        self._changed.set()

    async def stop(self, grace_s: float) -> None:
        """Let answers end for `grace_s` seconds, then tell the clients of the others and free the model server."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._open:
                    self._changed.clear()
                    await self._changed.wait()
        for relay in tuple(self._open):
            relay.cut()


class Relay:
    """One answer, as an ASGI application. Whatever ends it, the model server is freed and the reservation settled."""

    def __init__(self, request: Request, reservation: Reservation, relays: Relays) -> None:
        self._request = request
        self._reservation = reservation
        self._relays = relays
        self._used: Usage | None = None
        self._events = 0
        self._began = False
        self._stopping = False
        self._serving: asyncio.Task[None] | None = None

    def cut(self) -> None:
        """End the answer, since the server stops."""
        self._stopping = True
        if self._serving is not None:
            self._serving.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises ApiError as long as nothing was sent. A client that goes away ends it at once."""
        del scope
        serving = self._serving = asyncio.create_task(self._serve(send))
        leaving = asyncio.create_task(_gone(receive))
        self._relays.add(self)
        try:
            await asyncio.wait((serving, leaving), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
        finally:
            for task in (serving, leaving):
                task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await serving
            self._relays.remove(self)
            self._settle()

    async def _serve(self, send: Send) -> None:
        request = self._request
        try:
            async with request.client.forward(request.path, request.body) as answer:
                if answer.status != 200:
                    raise error_of_answer(answer.status, await answer.read())
                self._began = True
                if request.streams and answer.content_type.startswith(STREAM):
                    await self._stream(answer, send)
                else:
                    await self._whole(answer, send)
        except ModelFailure as failure:
            raise error_of_failure(failure) from None
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            raise Unavailable(STOPPING, retry_after_s=RETRY_AFTER_S) from None

    async def _whole(self, answer: Forwarded, send: Send) -> None:
        body = await answer.read()
        with suppress(*UNREADABLE):
            self._used = decode_counted(body).usage
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length, *self._headers(answer)]})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _stream(self, answer: Forwarded, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers(answer)})
        passing = Passing(with_usage=self._request.with_usage, rewrite=error_in_stream)
        last = b""
        try:
            async for data in answer.pieces():
                out = passing.feed(data)
                if out:
                    await send({"type": "http.response.body", "body": out, "more_body": True})
            last = passing.rest()
        except ModelFailure as failure:
            last = _last_words(error_of_failure(failure))
        except EventTooLong:
            last = _last_words(error_of_failure(ModelBroke("The model server sent no events.")))
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            last = _last_words(Unavailable(STOPPING))
        finally:
            self._used, self._events = passing.usage, passing.events
        await send({"type": "http.response.body", "body": last, "more_body": False})

    def _headers(self, answer: Forwarded) -> list[tuple[bytes, bytes]]:
        named = {"content-type": answer.content_type, **self._request.headers}
        if answer.content_type.startswith(STREAM):
            named["x-accel-buffering"] = "no"
        return [(name.encode(), value.encode()) for name, value in named.items()]

    def _settle(self) -> None:
        """Charge what was used; an answer that was cut short is charged by what was sent for it and what came."""
        if self._used is not None:
            self._reservation.settle(self._used.prompt_tokens, self._used.completion_tokens or 0, runs=0)
        elif self._began:
            self._reservation.settle(len(self._request.body) // CHARACTERS_PER_TOKEN, self._events, runs=0)
        else:
            self._reservation.release()


def _last_words(error: ApiError) -> bytes:
    """Return how a stream ends that could not be finished: an error, which SDKs raise, before the end."""
    return b"data: " + msgspec.json.encode(envelope(error)) + b"\n\ndata: [DONE]\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def estimate(asked: Relayed, body: bytes, usual_answer: int) -> int:
    """Return roughly what a request will use, prompt and answer."""
    return len(body) // CHARACTERS_PER_TOKEN + (usual_answer if asked.answer_tokens is None else asked.answer_tokens)


def wants_usage(asked: Relayed) -> bool:
    """Tell whether the client of a stream asked for its usage."""
    return asked.stream_options is not None and bool(asked.stream_options.include_usage)
