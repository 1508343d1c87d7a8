"""Runs the API under uvicorn: one process, one event loop, a stop that keeps its word."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import cast

import uvicorn

from app.db.opening import open_database
from app.main import Parts, create_framework_app, wrap
from app.settings import Settings
from app.web.asgi import ASGIApp

KEEP_ALIVE_S = 75
BACKLOG = 2048


class Server(uvicorn.Server):
    """uvicorn, telling when it listens and when it was told to stop."""

    def __init__(self, config: uvicorn.Config, parts: Parts, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._parts = parts
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port, then say so."""
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the clock of the grace, then let requests end."""
        self._parts.stopping_since = time.monotonic()
        await super().shutdown(sockets)


def serve(settings: Settings, *, on_started: Callable[[], None] = lambda: None) -> bool:
    """Serve until SIGINT or SIGTERM; return whether it ever started.

    The schema is brought up to date first, so that what is wrong with the store is said in one line.
    Raises what open_database raises.
    """
    asyncio.run(_prepare(settings))
    parts = Parts()
    config = uvicorn.Config(
        wrap(cast(ASGIApp, create_framework_app(settings, parts)), settings),
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_grace_s)),
    )
    server = Server(config, parts, on_started)
    server.run()
    return server.started


async def _prepare(settings: Settings) -> None:
    database = await open_database(settings.database_url)
    await database.close()
