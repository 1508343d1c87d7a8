"""Who may call: the key, as `Authorization: Bearer` or `X-API-Key`, the project that it acts for, and its scopes."""

from collections.abc import Callable, Iterable

from app.errors import PermissionDenied, Unauthenticated
from app.keys.grant import Grant, Refusal
from app.keys.ring import KeyRing
from app.kit.caller import Caller
from app.telemetry import metrics, tracing
from app.web.asgi import ASGIApp, Receive, Scope, Send
from app.web.scopes import require_scope

OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/docs", "/redoc", "/openapi.json"})
OPEN_PREFIXES = ("/docs/",)
KEY_HEADERS = (b"x-api-key", b"api-key")
"""Where a key may stand beside `Authorization`: the first Sovereign Assistant API's place, and Azure's."""

NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY), or in an X-API-Key header."
)
# Only whoever holds the secret is told why it is not taken; a wrong one is only wrong.
REFUSALS = {
    Refusal.UNKNOWN: "Incorrect API key provided: {key}.",
    Refusal.REPLACED: "The API key {key} was replaced, and the time in which it was still taken is over.",
    Refusal.REVOKED: "The API key {key} was revoked.",
    Refusal.EXPIRED: "The API key {key} has expired.",
    Refusal.ARCHIVED: "The project of the API key {key} is archived.",
}
WRONG_PROJECT = "OpenAI-Project header should match project for API key"


class Auth:
    """Wraps an ASGI app: without a key that is taken only health and docs are answered."""

    def __init__(self, app: ASGIApp, *, ring: Callable[[], KeyRing]) -> None:
        self._app = app
        self._ring = ring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through. Raises Unauthenticated or PermissionDenied."""
        if scope["type"] == "http" and not is_open(scope["path"]):
            with tracing.span("auth"):
                grant = await self._grant_of(scope["headers"])
            _tell(scope, grant)
            try:
                require_scope(grant.scopes, scope["method"], scope["path"])
            except PermissionDenied:
                metrics.AUTH_FAILURES.labels("scope").inc()
                raise
        await self._app(scope, receive, send)

    async def _grant_of(self, headers: Iterable[tuple[bytes, bytes]]) -> Grant:
        presented, project = presented_key(headers), named_project(headers)
        if presented is None:
            metrics.AUTH_FAILURES.labels("missing").inc()
            raise Unauthenticated(NO_KEY)
        grant = await self._ring().admit(presented, project)
        if isinstance(grant, Grant):
            return grant
        metrics.AUTH_FAILURES.labels(grant.name.lower()).inc()
        if grant is Refusal.WRONG_PROJECT:
            raise Unauthenticated(WRONG_PROJECT, code="mismatched_project")
        raise Unauthenticated(REFUSALS[grant].format(key=masked(presented)), code="invalid_api_key")


def _tell(scope: Scope, grant: Grant) -> None:
    """Say to the layers within who asks."""
    state = scope["state"]
    state["grant"] = grant
    state["caller"] = Caller(
        project_id=grant.project_id,
        key_id=grant.key_id,
        request_id=state["request_id"],
        address=state["address"],
        models=grant.models,
    )


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
        elif name in KEY_HEADERS and value.strip():
            named = value.strip()
    return named


def named_project(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the project that a request names in `OpenAI-Project`, if any."""
    for name, value in headers:
        if name == b"openai-project":
            return value.decode("latin-1").strip() or None
    return None


def masked(key: bytes) -> str:
    """Return a key as it may be shown to whoever sent it."""
    text = key.decode("ascii", "replace")
    return f"{text[:3]}***{text[-4:]}" if len(text) >= 12 else "***"
