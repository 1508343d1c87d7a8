"""Relays a request to the model server and its answer to the client, byte for byte but for what a gateway must change:
the model's name, and a usage that is read for limits and withheld from a client that did not ask for it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import msgspec
from msgspec import Raw, Struct

from app.catalog.routing import Kind, Route
from app.catalog.service import Catalog
from app.chat.passing import EventTooLong, Passing
from app.chat.refusals import RETRY_AFTER_S, error_in_stream, error_of_answer, error_of_failure
from app.chat.remembering import Remembering
from app.chat.schemas import Relayed
from app.errors import ApiError, Unavailable
from app.inference.chunks import Usage
from app.inference.client import Forwarded
from app.inference.failures import UNREADABLE, ModelBroke, ModelFailure, PromptTooLong, failure_of_answer
from app.inference.tokens import CHARACTERS_PER_TOKEN
from app.kit.wire import Foreign
from app.limits.limiter import Reservation
from app.telemetry import genai, metrics, tracing
from app.web.asgi import Receive, Scope, Send
from app.web.errors import envelope
from app.web.events import until_gone

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
    """What a client asks for: of which model, where, in what words, and how the answer is to come."""

    model: str
    kind: Kind
    path: str
    body: bytes
    asked: Relayed

    @property
    def with_usage(self) -> bool:
        """Tell whether the client of a stream asked for its usage."""
        return self.asked.stream_options is not None and bool(self.asked.stream_options.include_usage)

    def rewritten(self, name: str, messages: list[dict[str, Any]] | None) -> bytes:
        """Return the body for the model server: under the name that it knows, and asking for a stream's usage.

        `messages` are shown instead of those that were sent, where the chat has a memory.
        """
        fields = FIELDS.decode(self.body)
        for ours in OURS:
            fields.pop(ours, None)
        fields["model"] = Raw(msgspec.json.encode(name))
        if messages is not None:
            fields["messages"] = Raw(msgspec.json.encode(messages))
        if self.asked.stream:
            options = msgspec.json.decode(fields["stream_options"]) if self.asked.stream_options is not None else {}
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
    """One answer, as an ASGI application.

    Whatever ends it, the model server is freed, the reservation settled, and the chat's thread let go.
    """

    def __init__(
        self,
        catalog: Catalog,
        request: Request,
        reservation: Reservation,
        relays: Relays,
        remembering: Remembering | None = None,
    ) -> None:
        self._catalog = catalog
        self._request = request
        self._reservation = reservation
        self._relays = relays
        self._remembering = remembering
        self._used: Usage | None = None
        self._events = 0
        self._refused = False
        self._stopping = False
        self._over = False
        self._began = time.perf_counter()
        self._task: asyncio.Task[Any] | None = None

    def cut(self) -> None:
        """End the answer, since the server stops."""
        self._stopping = True
        self._interrupt()

    def _interrupt(self) -> None:
        if self._task is not None and not self._over:
            self._over = True
            self._task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises ApiError as long as nothing was sent. A client that goes away ends it at once."""
        del scope
        self._task = asyncio.current_task()
        assert self._task is not None
        leaving = asyncio.create_task(until_gone(receive))
        leaving.add_done_callback(lambda _: self._interrupt())
        self._relays.add(self)
        try:
            await self._serve(send)
        except ApiError:
            self._refused = True
            raise
        except asyncio.CancelledError:
            if not self._over:  # it is not the client's leaving
                raise
            self._task.uncancel()
        finally:
            self._over = True
            leaving.cancel()
            self._relays.remove(self)
            self._settle()
            await self._forget()

    async def _forget(self) -> None:
        """Let the thread go, if the answer was not kept in it."""
        if self._remembering is not None:
            if self._refused:
                await self._remembering.refused()
            else:
                await self._remembering.cut("run_cancelled")

    async def _serve(self, send: Send) -> None:
        try:
            while not await self._answered(send):
                pass
        except ModelFailure as failure:
            raise error_of_failure(failure) from None
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            raise Unavailable(STOPPING, retry_after_s=RETRY_AFTER_S) from None

    async def _answered(self, send: Send) -> bool:
        """Ask and answer. False when the server found it too long for a memory, which is less now: ask again."""
        request = self._request
        async with self._catalog.answering(request.model, request.kind, self._ask) as (route, answer):
            if answer.status == 200:
                if request.asked.stream and answer.content_type.startswith(STREAM):
                    await self._stream(route, answer, send)
                else:
                    await self._whole(route, answer, send)
                return True
            body = await answer.read()
        metrics.UPSTREAM_FAILURES.labels(route.upstream, failure_of_answer(answer.status, body).kind).inc()
        if not await self._shrunk(answer.status, body):
            raise error_of_answer(answer.status, body)
        return False

    async def _shrunk(self, status: int, body: bytes) -> bool:
        turn = self._remembering.turn if self._remembering is not None else None
        too_long = turn is not None and isinstance(failure_of_answer(status, body), PromptTooLong)
        return turn is not None and too_long and await turn.shrink()

    def _ask(self, route: Route) -> AbstractAsyncContextManager[Forwarded]:
        if self._remembering is not None:
            return self._ask_remembering(route, self._remembering)
        return route.client.forward(self._request.path, self._request.rewritten(route.name, None))

    @asynccontextmanager
    async def _ask_remembering(self, route: Route, remembering: Remembering) -> AsyncGenerator[Forwarded, None]:
        """Ask with what fits of the thread into the window of the server that is asked."""
        turn, messages = remembering.turn, None
        if turn is not None:
            await turn.show(route.target)
            messages = turn.messages
        body = self._request.rewritten(route.name, messages)
        async with route.client.forward(self._request.path, body, remembering.completion_id) as answer:
            yield answer

    async def _whole(self, route: Route, answer: Forwarded, send: Send) -> None:
        body = await answer.read()
        with suppress(*UNREADABLE):
            self._used = decode_counted(body).usage
        if self._remembering is not None:
            body = await self._remembering.whole(body)
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length, *_headers(route, answer)]})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _stream(self, route: Route, answer: Forwarded, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _headers(route, answer)})
        passing = Passing(with_usage=self._request.with_usage, rewrite=error_in_stream)
        last = b""
        try:
            last = await self._pass_on(answer, passing, send)
        except (ModelFailure, EventTooLong) as problem:
            failure = problem if isinstance(problem, ModelFailure) else ModelBroke("The model server sent no events.")
            route.server.broke_off(failure)
            await self._broke()
            last = _last_words(error_of_failure(failure))
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            last = _last_words(Unavailable(STOPPING))
        finally:
            self._used, self._events = passing.usage, passing.events
            if passing.failed:
                metrics.UPSTREAM_FAILURES.labels(route.upstream, ModelBroke.kind).inc()
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _broke(self) -> None:
        if self._remembering is not None:
            await self._remembering.cut("run_failed")

    async def _pass_on(self, answer: Forwarded, passing: Passing, send: Send) -> bytes:
        """Pass a stream on as it comes; return what is left at its end. What is kept holds back the end until it is."""
        held = b""
        pieces = metrics.Pieces("chat", self._began)
        async for data in answer.pieces():
            out = passing.feed(data)
            if self._remembering is not None:
                self._remembering.feed(data)
                out, held = held + self._remembering.named(out), b""
                end = out.rfind(b"data: [DONE]")
                if end >= 0:
                    out, held = out[:end], out[end:]
            if out:
                await send({"type": "http.response.body", "body": out, "more_body": True})
                pieces.told()
        if self._remembering is not None:
            if passing.failed:
                await self._broke()
            elif (error := await self._remembering.assembled_or_error()) is not None:
                return _last_words(error)
        return held + passing.rest()

    def _settle(self) -> None:
        """Charge what was used; an answer that was cut short is charged by what was sent for it and what came."""
        if self._used is not None:
            prompt, completion = self._used.prompt_tokens, self._used.completion_tokens or 0
            self._reservation.settle(prompt, completion, runs=0)
            model = metrics.MODELS.label(self._request.model)
            metrics.count_tokens(model, self._reservation.project_id, prompt, completion)
            tracing.note(genai.used(model, prompt, completion))
        elif self._refused:
            self._reservation.release()
        else:
            self._reservation.settle(len(self._request.body) // CHARACTERS_PER_TOKEN, self._events, runs=0)


def _headers(route: Route, answer: Forwarded) -> list[tuple[bytes, bytes]]:
    named: Mapping[str, str] = {"content-type": answer.content_type, **route.headers()}
    if answer.content_type.startswith(STREAM):
        named = {**named, "x-accel-buffering": "no"}
    return [(name.encode(), value.encode()) for name, value in named.items()]


def _last_words(error: ApiError) -> bytes:
    """Return how a stream ends that could not be finished: an error, which SDKs raise, before the end."""
    return b"data: " + msgspec.json.encode(envelope(error)) + b"\n\ndata: [DONE]\n\n"
