"""`GET /metrics` on the API's own port, for keys of scope admin: what the port of METRICS_PORT tells without a key."""

from app.telemetry.metrics import CONTENT_TYPE, exposition
from app.web.asgi import ASGIApp, Receive, Scope, Send

PATH = "/metrics"


class Exposition:
    """Wraps an ASGI app. Belongs within Auth, which lets administrators alone through to it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for one path, and pass everything else on."""
        if scope["type"] != "http" or scope["path"].rstrip("/") != PATH or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        scope["path_template"] = PATH
        body = exposition()
        headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
