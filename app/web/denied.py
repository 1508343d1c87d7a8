"""Notes for the audit who was refused: for a key, for what a key may not do, and for whatever failed under /admin."""

from collections.abc import Callable

from app.audit.actions import Action
from app.audit.denials import Denials
from app.errors import ApiError, PermissionDenied, Unauthenticated
from app.keys.secret import key_id_of
from app.web.asgi import ASGIApp, Receive, Scope, Send
from app.web.auth import presented_key

NO_KEY = "missing_api_key"
"""The outcome of a request without any key: its error has no code, as the original's has none."""


class Denied:
    """Wraps an ASGI app. Errors come by as they are raised, or in the state if a room's answer was one."""

    def __init__(self, app: ASGIApp, *, denials: Callable[[], Denials]) -> None:
        self._app = app
        self._denials = denials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the note is made once its answer is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except ApiError as error:
            self._note(scope, error)
            raise
        answered: ApiError | None = scope["state"].get("error")
        if answered is not None:
            self._note(scope, answered)

    def _note(self, scope: Scope, error: ApiError) -> None:
        action = _action(scope["path"], error)
        if action is None:
            return
        state = scope["state"]
        grant = state.get("grant")
        self._denials().note(
            action,
            error.code or (NO_KEY if isinstance(error, Unauthenticated) else error.type),
            request_id=state["request_id"],
            address=state["address"],
            key_id=_claimed(scope) if grant is None else grant.key_id,
            project_id=None if grant is None else grant.project_id,
        )


def _action(path: str, error: ApiError) -> Action | None:
    if isinstance(error, Unauthenticated | PermissionDenied):
        return "access.denied"
    return "admin.failed" if path.lstrip("/").partition("/")[0] == "admin" else None


def _claimed(scope: Scope) -> str | None:
    """Return the public id in the text of a key that was not taken; nothing else of it is anybody's to keep."""
    presented = presented_key(scope["headers"])
    return None if presented is None else key_id_of(presented)
