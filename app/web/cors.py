"""Lets web pages of named origins call the API. Off unless CORS_ORIGINS names some; never with credentials."""

from app.errors import ApiError
from app.web.asgi import ASGIApp, Message, Receive, Scope, Send
from app.web.errors import send_error

MAX_AGE_S = b"600"
EXPOSED = (
    b"x-request-id, openai-processing-ms, openai-version, openai-poll-after-ms, retry-after, retry-after-ms, "
    b"x-ratelimit-limit-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, "
    b"x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, x-ratelimit-reset-tokens, x-unavailable-tools, "
    b"x-model-upstream, x-model-fallback"
)
METHODS = b"GET, POST, DELETE, OPTIONS"


class Cors:
    """Wraps an ASGI app: answers preflights and marks answers that an origin may read."""

    def __init__(self, app: ASGIApp, *, origins: tuple[str, ...]) -> None:
        self._app = app
        self._any = "*" in origins
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        if origin is None or not (self._any or origin in self._origins):
            await self._app(scope, receive, send)
            return
        marks = [(b"access-control-allow-origin", b"*" if self._any else origin), (b"vary", b"Origin")]
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await _allow(send, marks, headers.get(b"access-control-request-headers", b""))
            return

        begun = False

        async def marked(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                exposed = (b"access-control-expose-headers", EXPOSED)
                message["headers"] = [*message.get("headers", ()), *marks, exposed]
            await send(message)

        try:
            await self._app(scope, receive, marked)
        except ApiError as error:  # a refusal that a page cannot read would look like a broken network to it
            if begun:
                raise
            await send_error(marked, error)


async def _allow(send: Send, marks: list[tuple[bytes, bytes]], wanted: bytes) -> None:
    headers = [
        *marks,
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", wanted or b"authorization, content-type"),
        (b"access-control-max-age", MAX_AGE_S),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
