"""Runs the API under uvicorn: one process, one event loop, a stop that keeps its word."""

import asyncio
import gc
import logging
import math
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn

from app import __version__
from app.db.opening import open_database
from app.keys.opening import opened_keys
from app.kit.clock import SystemClock
from app.main import Parts, create_framework_app, wrap
from app.settings import Settings
from app.telemetry import metrics
from app.telemetry.listening import listening
from app.telemetry.sampling import tell_build
from app.telemetry.tracing import start_tracing, stop_tracing
from app.web.connection import Bounds, Connection

log = logging.getLogger(__name__)

BACKLOG = 2048
LAST_EVENTS_S = 3
"""How long streams get after the grace to tell that their runs were ended."""


class Server(uvicorn.Server):
    """uvicorn, telling when it listens and when it was told to stop."""

    def __init__(self, config: uvicorn.Config, parts: Parts, on_started: Callable[[], None], *, grace_s: float) -> None:
        super().__init__(config)
        self._parts = parts
        self._on_started = on_started
        self._grace_s = grace_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port, then say so. What is there by now stays: nobody looks through it for garbage again."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        if self.started:
            self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and let that be all: uvicorn would raise the signal again once it has stopped.

        That would end the process without whoever called us cleaning up, and tell a stop as asked as a failure.
        """
        super().handle_exit(sig, frame)
        self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers end within the grace while their streams are open, so that each stream tells its end."""
        self._parts.ending = asyncio.create_task(self._parts.end(self._grace_s))
        await super().shutdown(sockets)


def serve(settings: Settings, *, on_started: Callable[[], None] = lambda: None) -> bool:
    """Serve until SIGINT or SIGTERM; return whether it ever started.

    The schema is brought up to date first, so that what is wrong with the store is said in one line.
    Raises what open_database raises.
    """
    asyncio.run(_prepare(settings))
    parts = Parts()
    server = Server(_config(settings, parts), parts, on_started, grace_s=settings.shutdown_grace_s)
    with ExitStack() as watched:
        try:
            watched.enter_context(listening(settings.metrics_host, settings.metrics_port))
        except OSError as failure:
            log.error("cannot tell metrics on METRICS_PORT: %s", failure.strerror)
            return False
        tell_build(__version__)
        metrics.VRAM_SHARE.set(settings.vram_share)
        if settings.otel_exporter_otlp_endpoint is not None:
            start_tracing(settings.otel_exporter_otlp_endpoint, __version__)
            watched.callback(stop_tracing)
        with suppress(SystemExit):  # uvicorn's way out when the port is taken; it has logged why
            server.run()
    return server.started


def _config(settings: Settings, parts: Parts) -> uvicorn.Config:
    bounds = Bounds(
        head_bytes=settings.head_limit_bytes,
        body_bytes=settings.body_limit_bytes,
        timeout_s=settings.client_timeout_s,
        connections=settings.connection_limit,
    )
    return uvicorn.Config(
        wrap(create_framework_app(settings, parts), settings),
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http=cast(Any, partial(Connection, bounds)),  # a class is asked for, and only called
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # Access alone says whose request it is
        backlog=BACKLOG,
        timeout_keep_alive=cast(Any, settings.keep_alive_s),  # uvicorn says int and takes any number of seconds
        timeout_graceful_shutdown=math.ceil(settings.shutdown_grace_s + LAST_EVENTS_S),
    )


async def _prepare(settings: Settings) -> None:
    database = await open_database(settings.database_url)
    try:
        async with opened_keys(settings, database, SystemClock()):
            pass
    finally:
        await database.close()
