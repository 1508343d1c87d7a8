"""Holds every request of a key to its limits, counts its streams, and tells on every answer what is left.

Belongs within Auth, which says whose request it is, and around BodyLimit: what is refused there was a request too.
"""

from app.errors import ApiError, RateLimited
from app.limits.allowance import Allowance
from app.limits.limiter import Limiter
from app.web.asgi import ASGIApp, Message, Receive, Scope, Send
from app.web.errors import send_error
from app.web.events import MEDIA_TYPE
from app.web.scopes import is_administration

_STREAM = MEDIA_TYPE.encode()


class RateLimit:
    """Wraps an ASGI app. What needs no key is not limited, nor is /admin: whoever floods a project would keep its
    operator from revoking the key.
    """

    def __init__(self, app: ASGIApp, *, limiter: Limiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or answer 429. Rooms find the request's `allowance` in the state."""
        grant = scope["state"].get("grant") if scope["type"] == "http" else None
        if grant is None:
            await self._app(scope, receive, send)
            return
        allowance = scope["state"]["allowance"] = Allowance(self._limiter, grant)
        answer = _Answer(allowance, send)
        try:
            if not is_administration(scope["path"]):
                allowance.admit_request()
            await self._app(scope, receive, answer.send)
        except ApiError as error:
            if answer.began:
                raise
            await send_error(answer.send, error)
        except Exception:
            if not answer.refused:
                raise
        finally:
            allowance.close()


class _StreamRefused(Exception):
    """Ends an app whose stream was refused when it began; the client has its answer already."""


class _Answer:
    """The answer to one request."""

    def __init__(self, allowance: Allowance, send: Send) -> None:
        self._allowance = allowance
        self._send = send
        self.began = False
        self.refused = False

    async def send(self, message: Message) -> None:
        """Pass a message on. The first one gets the headers, and a place if a stream begins with it."""
        if message["type"] != "http.response.start":
            await self._send(message)
            return
        if _is_stream(message):
            try:
                self._allowance.admit_stream()
            except RateLimited as error:
                self.refused = True
                await send_error(self.send, error)
                raise _StreamRefused from None
        self.began = True
        message["headers"] = [*message.get("headers", ()), *self._allowance.headers()]
        await self._send(message)


def _is_stream(message: Message) -> bool:
    return any(name == b"content-type" and value.startswith(_STREAM) for name, value in message.get("headers", ()))
