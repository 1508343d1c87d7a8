"""A tiny app with the pages and a document of one operation, on a real uvicorn and a free loopback port."""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import uvicorn
from litestar import Litestar, get

from app.web.pages.controller import PagesController

OPERATION = "List the lanterns"
START_WITHIN_S = 10.0


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def document() -> dict[str, object]:
    lanterns = {
        "operationId": "listLanterns",
        "summary": OPERATION,
        "security": [{"bearer": []}],
        "responses": {"200": {"description": "All of them"}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lanterns", "version": "1"},
        "servers": [{"url": "/v1"}],
        "paths": {"/lanterns": {"get": lanterns}},
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


def tiny_app() -> Litestar:
    return Litestar([PagesController, document], openapi_config=None)


@contextlib.contextmanager
def served(app: Litestar) -> Iterator[int]:
    """Serve `app` until the block ends; gives the port."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, ws="none", log_level="warning"))
    thread = threading.Thread(target=server.run, name="uvicorn for the pages")
    thread.start()
    try:
        yield _port(server)
    finally:
        server.should_exit = True
        thread.join()


def _port(server: uvicorn.Server) -> int:
    deadline = time.monotonic() + START_WITHIN_S
    while not server.started:
        assert time.monotonic() < deadline, "uvicorn did not start"
        time.sleep(0.01)
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


def ask(port: int, path: str, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()
