"""One connection under uvicorn and its bounds: how large a head, how slow a client, how many at once.

What ASGI shows of a request is bounded in the layers around the framework. Here is what never gets that far: heads
that are too large or do not end, bodies that stop coming, answers that nobody takes, connections beyond the limit.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import ApiError, HeadTooLarge, InvalidRequest, RequestTimeout, Unavailable, UriTooLong
from app.telemetry import metrics
from app.web.access import ANSWERS_ALWAYS, UNMATCHED, Access, new_request_id
from app.web.asgi import ASGIApp, Receive, Scope, Send
from app.web.errors import envelope
from app.web.pace import Pace

log = logging.getLogger("app.access")

URI_LIMIT_BYTES = 16 * 1024
HEADERS_LIMIT = 100
SPARE_CONNECTIONS = 64
"""How many beyond the limit are still told so; those beyond these are closed at once."""
LINGER_S = 1.0
"""How long a refused client's bytes are taken and thrown away: a port closed on them would take back the answer."""

AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no time."""
CLOSED = -1
"""What a closed socket has in place of a descriptor."""


class Bounds(NamedTuple):
    """What a client may ask of a connection, from the settings."""

    head_bytes: int
    body_bytes: int
    timeout_s: float
    connections: int


class Connection(HttpToolsProtocol):
    """uvicorn's protocol. A request that comes in one piece costs it two comparisons more."""

    def __init__(self, bounds: Bounds, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bounds = bounds
        self._arriving = Pace(self.loop, bounds.timeout_s, self._received, self._came_too_slowly)
        self._leaving = Pace(self.loop, bounds.timeout_s, self._taken, self._took_too_slowly)
        self._is_whole = False
        self._is_head_over = False
        self._is_refused = False
        self._chunk_bytes = 0
        self._request_bytes = 0
        self._refusal: ApiError | None = None

    # uvicorn narrows the parameter as well: a server on a TCP port is handed nothing but a Transport.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or turn away who is one too many."""
        super().connection_made(transport)
        beyond = len(self.connections) - self._bounds.connections
        if beyond > SPARE_CONNECTIONS:
            transport.abort()
        elif beyond > 0:
            self.app = _only_health(self.app)
        self._arriving.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines, also the one that uvicorn keeps for a connection that broke."""
        self._arriving.end()
        self._leaving.end()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came. From the first byte on an idle connection, a whole request is waited for."""
        if self._is_refused:
            return
        if self.cycle is None or self.cycle.response_complete:
            self._is_whole = False
        self._chunk_bytes = len(data)
        self._request_bytes += self._chunk_bytes
        super().data_received(data)
        if self._is_whole or self._is_refused:
            self._arriving.end()
            return
        self._arriving.begin()
        if not self._is_head_over and self._request_bytes > self._bounds.head_bytes:
            self._refuse(self._head_too_large())

    def on_message_begin(self) -> None:
        """Begin a request. The piece of it that comes first is counted with its headers only."""
        super().on_message_begin()
        self._is_whole = self._is_head_over = False
        self._request_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        super().on_url(url)
        if len(self.url) > URI_LIMIT_BYTES:
            self._stop_parsing(UriTooLong(f"URI too long. Expected at most {URI_LIMIT_BYTES} bytes."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. What follows a body in chunks is dropped: it would pass for headers, which a proxy has set or
        checked, and it has no end.
        """
        if not self._is_head_over:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to answer, unless the head is too large."""
        if len(self.headers) > HEADERS_LIMIT:
            self._stop_parsing(HeadTooLarge(f"Too many headers. Expected at most {HEADERS_LIMIT}."))
        most = self._bounds.head_bytes
        if self._request_bytes + self._chunk_bytes > most and self._head_bytes() > most:
            self._stop_parsing(self._head_too_large())
        self._is_head_over = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Know that the request is there."""
        self._is_whole = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to what comes next; an answer after which the connection is closed must be taken in time, too."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._leaving.begin()

    def pause_writing(self) -> None:
        """Stop the answer until the client has taken what is written."""
        super().pause_writing()
        self._leaving.begin()

    def resume_writing(self) -> None:
        """Go on with the answer."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._leaving.end()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, which waits until its last answer is taken."""
        super().timeout_keep_alive_handler()
        self._leaving.begin()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not read, or what one of the methods above stopped."""
        self._refuse(self._refusal or InvalidRequest(msg))

    def _stop_parsing(self, error: ApiError) -> None:
        self._refusal = error
        raise error

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _head_too_large(self) -> ApiError:
        return HeadTooLarge(f"Request headers too large. Expected at most {self._bounds.head_bytes} bytes.")

    def _refuse(self, error: ApiError) -> None:
        """Answer instead of the app, if no answer has begun, and close."""
        self._is_refused = True
        self._arriving.end()
        request_id = new_request_id()
        log.info("refused", extra={"request_id": request_id, "status": error.status})
        cycle = self.cycle
        if cycle is None or cycle.response_complete:  # no app has seen it
            metrics.REQUESTS.labels(metrics.OTHER, UNMATCHED, str(error.status)).inc()
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_answer(error, request_id))
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # nothing of the app's may follow
            cycle.message_event.set()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def _received(self) -> int:
        # What comes after the answer, or beyond what a body may have, earns no more time.
        return 0 if self._is_answered() else min(self._request_bytes, self._bounds.body_bytes)

    def _is_answered(self) -> bool:
        """Tell whether the answer was given before the request was there."""
        return self._is_head_over and self.cycle.response_complete

    def _came_too_slowly(self) -> None:
        if self.flow.read_paused:  # it is we who do not take it
            self._arriving.begin()
        elif self._chunk_bytes and not self._is_answered():
            metrics.SLOW_CLIENTS.inc()
            self._refuse(RequestTimeout("Request timeout. The request did not arrive in time.", code="request_timeout"))
        else:
            self.transport.abort()

    def _taken(self) -> int:
        return -self.transport.get_write_buffer_size()

    def _took_too_slowly(self) -> None:
        connection = self.transport.get_extra_info("socket")
        if connection.fileno() == CLOSED:
            return  # it went before its time was over
        # Without lingering: the kernel, too, forgets what it still wanted to send.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        metrics.SLOW_CLIENTS.inc()
        log.info("cut off a client that does not read", extra={"unread_bytes": self.transport.get_write_buffer_size()})
        self.transport.abort()


def _answer(error: ApiError, request_id: str) -> bytes:
    """Return a whole answer as it goes over the wire."""
    body = msgspec.json.encode(envelope(error))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode()),
        *ANSWERS_ALWAYS,
    ]
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _only_health(app: ASGIApp) -> Callable[[Scope, Receive, Send], Any]:
    """Answer for the app that there are too many, except those who ask whether the server is alive."""

    turned_away = Access(_turn_away)  # counted and logged as any other request

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/health"):
            await app(scope, receive, send)
        else:
            await turned_away(scope, receive, send)

    return busy


async def _turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    raise Unavailable("Too many connections. Please try again later.", retry_after_s=1)
