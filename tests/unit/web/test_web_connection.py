"""A connection that is closed once its answer is taken, when nobody takes it: too little to be seen over loopback."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from app.web.connection import Bounds, Connection

pytestmark = pytest.mark.anyio

BOUNDS = Bounds(head_bytes=4096, body_bytes=4096, timeout_s=0.02, connections=10)


class UntakenTransport:
    """A transport that is below its high water mark and gets rid of nothing."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.closing = False
        self.aborted = asyncio.Event()

    def get_extra_info(self, name: str) -> Any:
        return self.peer if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return 100

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted.set()

    def resume_reading(self) -> None:
        """Nothing comes."""


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket() as one:
        yield one


def connected(transport: Any) -> Connection:
    """Return a connection whose request has come."""
    config = uvicorn.Config(lambda: None, http="httptools", log_config=None)
    connection = Connection(BOUNDS, config=config, server_state=ServerState(), app_state={})
    connection.connection_made(transport)
    connection._arriving.end()
    return connection


def kept_alive_too_long(connection: Connection) -> None:
    connection.timeout_keep_alive_handler()


def answered_for_good(connection: Connection) -> None:
    connection.transport.close()
    connection.on_response_complete()


@pytest.mark.parametrize("closed", [kept_alive_too_long, answered_for_good])
async def test_what_is_left_of_an_answer_is_not_waited_for_without_end(
    peer: socket.socket, closed: Callable[[Connection], None], anyio_backend: str
) -> None:
    transport: Any = UntakenTransport(peer)
    connection = connected(transport)
    closed(connection)
    await asyncio.wait_for(transport.aborted.wait(), 5)
    connection.connection_lost(None)


async def test_an_idle_connection_that_breaks_is_waited_for_no_longer(peer: socket.socket, anyio_backend: str) -> None:
    transport: Any = UntakenTransport(peer)
    connection = connected(transport)
    connection.on_response_complete()
    waiting = connection.timeout_keep_alive_task
    assert waiting is not None
    connection.connection_lost(ConnectionResetError())
    assert waiting.cancelled()
