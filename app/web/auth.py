"""Who may call: the key, as `Authorization: Bearer` or `X-API-Key`, compared in constant time."""

import hmac
from collections.abc import Iterable

from app.db.tables import DEFAULT_PROJECT
from app.errors import Unauthenticated
from app.web.asgi import ASGIApp, Receive, Scope, Send

OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/docs", "/redoc", "/openapi.json"})
OPEN_PREFIXES = ("/docs/",)

NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY), or in an X-API-Key header."
)


class Auth:
    """Wraps an ASGI app: without the right key only health and docs are answered."""

    def __init__(self, app: ASGIApp, *, api_key: str | None) -> None:
        self._app = app
        self._key = api_key.encode() if api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through or raise Unauthenticated."""
        if scope["type"] == "http" and not is_open(scope["path"]):
            self._admit(presented_key(scope["headers"]))
            scope["state"]["project_id"] = DEFAULT_PROJECT
        await self._app(scope, receive, send)

    def _admit(self, presented: bytes | None) -> None:
        if presented is None:
            raise Unauthenticated(NO_KEY)
        if self._key is None or not hmac.compare_digest(presented, self._key):
            raise Unauthenticated(f"Incorrect API key provided: {masked(presented)}.", code="invalid_api_key")


def is_open(path: str) -> bool:
    """Tell whether a path is served without a key."""
    return (path.rstrip("/") or "/") in OPEN_PATHS or path.startswith(OPEN_PREFIXES)


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the key that a request carries, if any."""
    named = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer" and key.strip():
                return key.strip()
        elif name == b"x-api-key" and value.strip():
            named = value.strip()
    return named


def masked(key: bytes) -> str:
    """Return a key as it may be shown to whoever sent it."""
    text = key.decode("ascii", "replace")
    return f"{text[:3]}***{text[-4:]}" if len(text) >= 12 else "***"
