"""Refuses bodies above a size, by their stated length or once they have grown too long, before anything parses them."""

from app.errors import InvalidRequest, PayloadTooLarge
from app.web.asgi import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Wraps an ASGI app."""

    def __init__(self, app: ASGIApp, *, limit_bytes: int) -> None:
        self._app = app
        self._limit = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request whose body is small enough; otherwise raise PayloadTooLarge."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        for name, value in scope["headers"]:
            if name == b"content-length":
                self._check(_length(value))
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message["body"])
                self._check(taken)
            return message

        await self._app(scope, counted, send)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise PayloadTooLarge(
                f"Request body too large. Expected at most {self._limit} bytes.", code="request_too_large"
            )


def _length(value: bytes) -> int:
    try:
        return int(value)
    except ValueError:
        raise InvalidRequest("Invalid 'Content-Length' header.") from None
