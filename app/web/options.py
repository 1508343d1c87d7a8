"""Answers OPTIONS with every method of a path.

The framework makes that answer from the methods that were registered when it first met the path, and never again.
"""

from collections.abc import Mapping

from litestar import Litestar
from litestar.routes import HTTPRoute

from app.web.asgi import ASGIApp, Message, Receive, Scope, Send


class Options:
    """Wraps the framework's ASGI app; `allowed` has the value of `Allow` for each path template."""

    def __init__(self, app: ASGIApp, *, allowed: Mapping[str, bytes]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            await self._app(scope, receive, send)
            return

        async def mended(message: Message) -> None:
            allowed = self._allowed.get(scope.get("path_template") or "")
            if message["type"] == "http.response.start" and message["status"] == 204 and allowed:
                others = [pair for pair in message["headers"] if pair[0] != b"allow"]
                message["headers"] = [*others, (b"allow", allowed)]
            await send(message)

        await self._app(scope, receive, mended)


def allowed_methods(app: Litestar) -> dict[str, bytes]:
    """Return the value of `Allow` for each path template of an app."""
    routes = (route for route in app.routes if isinstance(route, HTTPRoute))
    return {route.path_format: ", ".join(sorted(route.methods)).encode() for route in routes}
