"""The outermost layer: gives every request an id and an address, every answer OpenAI's headers and those that guard
a browser, and the log one line each.

It wraps the framework, because unknown routes and wrong methods never reach a middleware inside it.
"""

import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from app.errors import ApiError
from app.kit.addresses import Networks, client_address
from app.telemetry import logs, metrics, tracing
from app.web.asgi import ASGIApp, Message, Receive, Scope, Send
from app.web.errors import INTERNAL, send_error
from app.web.events import MEDIA_TYPE

log = logging.getLogger("app.access")

ANSWERS_ALWAYS = (
    (b"openai-version", b"2020-10-01"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""What every answer says, unless it says it otherwise itself, as the pages of the documentation do."""

_ALWAYS_SAID = frozenset(name for name, _ in ANSWERS_ALWAYS)
_STREAM = MEDIA_TYPE.encode()
UNMATCHED = "unmatched"
"""Stands for the route of what no route answers."""
ASKED_ALL_DAY = ("/health", "/metrics")


def new_request_id() -> str:
    """Return an id of ours. A client's own is never taken over: it would be somebody's words in our log."""
    return f"req_{secrets.token_hex(16)}"


class Access:
    """Wraps an ASGI app. What the layers below raise is rendered here, unless the answer has begun."""

    def __init__(self, app: ASGIApp, *, trusted_proxies: Networks = ()) -> None:
        self._app = app
        self._trusted_proxies = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        scope["state"]["address"] = self._address(scope)
        logs.now_about(request_id=exchange.request_id)
        with _traced(scope):
            try:
                await self._app(scope, receive, exchange.send)
            except ApiError as error:
                await exchange.refuse(error)
            except Exception:
                log.exception("unhandled fault", extra={"request_id": exchange.request_id})
                await exchange.refuse(ApiError(INTERNAL))
            finally:
                exchange.report()

    def _address(self, scope: Scope) -> str | None:
        """Return whose request it is: text of an address, or None where there is none, as on a local socket."""
        peer = scope.get("client")
        if peer is None or not self._trusted_proxies:
            return peer and str(peer[0])
        forwarded = (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for")
        return client_address(peer[0], forwarded, self._trusted_proxies)


def _traced(scope: Scope) -> AbstractContextManager[None]:
    """Begin a request's trace. Who asks again and again whether the server is well would drown the others."""
    if scope["path"].startswith(ASKED_ALL_DAY):
        return nullcontext()
    return tracing.span("request", kind="SERVER", attributes={"http.request.method": scope["method"]})


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.request_id = new_request_id()
        self._scope = scope
        self._send = send
        self._status = 0
        self._streams = False
        self._started_at = time.perf_counter()
        self._scope.setdefault("state", {})["request_id"] = self.request_id
        metrics.REQUESTS_IN_FLIGHT.inc()

    def _elapsed_ms(self) -> int:
        return round(self._elapsed_s() * 1000)

    def _elapsed_s(self) -> float:
        return time.perf_counter() - self._started_at

    async def send(self, message: Message) -> None:
        """Pass a message on; the first one gets the headers."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = message.get("headers", ())
            if any(name == b"content-type" and value.startswith(_STREAM) for name, value in headers):
                self._streams = True
                metrics.STREAMS.inc()
            message["headers"] = [
                *headers,
                (b"x-request-id", self.request_id.encode()),
                (b"openai-processing-ms", str(self._elapsed_ms()).encode()),
                *_unsaid([name for name, _ in headers]),
            ]
        await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        """Answer with an error, if nothing was answered yet."""
        if not self._status:
            await send_error(self.send, error)

    def report(self) -> None:
        """Count the request and write its line: the route's template, never an id or a query."""
        method, route = self._scope["method"], self._scope.get("path_template") or UNMATCHED
        state = self._scope["state"]
        metrics.REQUESTS_IN_FLIGHT.dec()
        metrics.STREAMS.dec(self._streams)
        metrics.count_request(method, route, self._status, streamed=self._streams, seconds=self._elapsed_s())
        tracing.note({"http.route": route, "http.response.status_code": self._status})
        caller = state.get("caller")
        log.log(
            _level(self._status),
            "request",
            extra={
                "request_id": self.request_id,
                "method": method,
                "route": route,
                "status": self._status,
                "duration_ms": self._elapsed_ms(),
                "address": state["address"],
                **({"project_id": caller.project_id} if caller is not None else {}),
            },
        )


def _level(status: int) -> int:
    """Return how bad an answer is: a fault of ours, a part that is away or full, or all in order."""
    if status == 503:
        return logging.WARNING
    return logging.ERROR if status >= 500 else logging.INFO


def _unsaid(said: list[bytes]) -> Sequence[tuple[bytes, bytes]]:
    if _ALWAYS_SAID.isdisjoint(said):
        return ANSWERS_ALWAYS
    return [header for header in ANSWERS_ALWAYS if header[0] not in said]
