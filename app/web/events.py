"""Server-sent events: the framing, and a stream that ends with an error event when something breaks."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from litestar import Litestar, Response
from litestar.response.base import ASGIResponse

from app.errors import ApiError
from app.web.asgi import Receive, Scope, Send
from app.web.errors import INTERNAL, error_event

log = logging.getLogger(__name__)

PING = b": ping\n\n"
DONE = b"event: done\ndata: [DONE]\n\n"
MEDIA_TYPE = "text/event-stream"
HEADERS = {
    "content-type": f"{MEDIA_TYPE}; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


def frame(name: bytes, data: bytes) -> bytes:
    """Return one event. `data` is JSON, which has no line breaks."""
    return b"event: " + name + b"\ndata: " + data + b"\n\n"


class Last(bytes):
    """Frames after which nothing comes: they go out in one piece with the end of the answer."""


class EventStream(Response[Any]):
    """Answers with events as they come. A client that goes away ends it at once."""

    def __init__(self, frames: AsyncGenerator[bytes, None], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(None)
        self._frames = frames
        self._head = [(name.encode(), value.encode()) for name, value in {**HEADERS, **(headers or {})}.items()]
        self._over = False

    def to_asgi_response(self, app: Litestar | None, request: Any, **_: Any) -> ASGIResponse:
        """Return what answers the request: the framework's own stream takes a group of tasks to do it."""
        return self._serve  # type: ignore[return-value]  # the framework only calls it, as any ASGI application

    async def _serve(self, _scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        leaving = asyncio.create_task(until_gone(receive))
        leaving.add_done_callback(lambda _: self._interrupt(task))
        try:
            await self._send_all(send)
        except asyncio.CancelledError:
            if not self._over:  # it is not the client's leaving
                raise
            task.uncancel()
        finally:
            self._over = True
            leaving.cancel()

    def _interrupt(self, task: "asyncio.Task[Any]") -> None:
        if not self._over:
            self._over = True
            task.cancel()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._head})
        async with aclosing(_guarded(self._frames)) as frames:
            async for data in frames:
                whole = isinstance(data, Last)
                await send({"type": "http.response.body", "body": data, "more_body": not whole})
                if whole:
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def until_gone(receive: Callable[..., Awaitable[Any]]) -> None:
    """Return when the client has gone away, or its answer is whole."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _guarded(frames: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(frames):
        try:
            async for data in frames:
                yield data
        except ApiError as error:
            yield error_event(error)
        except Exception:
            log.exception("a stream broke")
            yield error_event(ApiError(INTERNAL))
