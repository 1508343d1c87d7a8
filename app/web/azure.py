"""Paths of the `AzureOpenAI` clients: the same routes under /openai, whose deployment names the model.

`/openai/deployments/<model>/<resource>`, `/openai/<resource>` and `/openai/v1/<resource>` all are `/v1/<resource>`;
`api-version` is taken and means nothing. The key comes in `api-key`, which web/auth.py knows.
"""

from urllib.parse import unquote

from app.web.asgi import ASGIApp, Receive, Scope, Send

PREFIX = "/openai/"
DEPLOYMENTS = "deployments/"
VERSION = "v1/"


class Azure:
    """Wraps an ASGI app. A request that names a deployment has it in its state."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            path, deployment = route_of(scope["path"])
            scope["path"], scope["raw_path"] = path, path.encode()
            scope["state"]["deployment"] = deployment
        await self._app(scope, receive, send)


def route_of(path: str) -> tuple[str, str | None]:
    """Return our path for one of Azure's, and the deployment that it names."""
    rest = path.removeprefix(PREFIX)
    if not rest.startswith(DEPLOYMENTS):
        return f"/v1/{rest.removeprefix(VERSION)}", None
    deployment, _, resource = rest.removeprefix(DEPLOYMENTS).partition("/")
    return f"/v1/{resource}", unquote(deployment) or None
