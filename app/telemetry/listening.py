"""A port of its own for Prometheus, served by a thread: it answers also while the event loop is late."""

from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import start_http_server

from app.telemetry.metrics import REGISTRY


@contextmanager
def listening(host: str, port: int | None) -> Generator[None, None, None]:
    """Tell the metrics on a port while a block runs; nowhere without one. Raises OSError when the port is taken."""
    if port is None:
        yield
        return
    server, thread = start_http_server(port, host, REGISTRY)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
