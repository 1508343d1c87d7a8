"""A model server that does what a test tells it to, byte by byte, on a loopback port. It is no part of the product.

Each chat request takes the next behaviour of the script; when the script is empty it streams DEFAULT_ANSWER.
"""

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from tests.fakes import model_wire as wire

DEFAULT_ANSWER = wire.answer("hello", " there")
IDLE_CLOSE_S = 5.0
BODY_LIMIT = 2**24


class Gone(Exception):
    """The client's connection closed."""


class Exchange:
    """One request, and the means to answer it."""

    def __init__(self, connection: "_Connection", method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.connection = connection
        self.answered = asyncio.Event()
        """Set when the behaviour has done all it does before it waits for the client to leave."""

    @property
    def json(self) -> Any:
        """The body as the client meant it."""
        return json.loads(self.body)

    async def client_left(self, timeout_s: float = 5.0) -> float:
        """Wait until the client's connection closes; return when that was, by the loop's clock."""
        await asyncio.wait_for(self.connection.closed.wait(), timeout_s)
        assert self.connection.closed_at is not None
        return self.connection.closed_at

    async def write(self, data: bytes) -> None:
        """Put bytes on the wire as they are."""
        if self.connection.closed.is_set():
            raise Gone
        self.connection.writer.write(data)
        await self.connection.writer.drain()

    async def begin(self, status: int = 200, content_type: str = "text/event-stream; charset=utf-8") -> None:
        """Send the head of a chunked answer."""
        head = f"HTTP/1.1 {status} X\r\nserver: uvicorn\r\ncontent-type: {content_type}\r\n"
        await self.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")

    async def send(self, data: bytes) -> None:
        """Send one chunk of the body."""
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """End the body as it should be ended; the connection stays."""
        await self.write(b"0\r\n\r\n")

    async def reply(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """Send a whole answer with its length."""
        head = f"HTTP/1.1 {status} X\r\nserver: uvicorn\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}"
        await self.write(head.encode() + b"\r\n\r\n" + body)

    async def leave(self) -> None:
        """Close the connection in the middle of whatever was said."""
        self.connection.writer.close()
        await self.connection.closed.wait()

    def reset(self) -> None:
        """Break the connection with an RST."""
        raw = self.connection.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.writer.transport.abort()


Behaviour = Callable[[Exchange], Awaitable[None]]


class _Connection(asyncio.StreamReaderProtocol):
    """One client's connection: notes when it closes, whoever closes it."""

    writer: asyncio.StreamWriter

    def __init__(self, serve: Callable[["_Connection"], Awaitable[None]]) -> None:
        self.reader = asyncio.StreamReader(limit=BODY_LIMIT)
        self.closed = asyncio.Event()
        self.closed_at: float | None = None
        self.task: asyncio.Task[None] | None = None
        super().__init__(self.reader, self._connected)
        self._serve = serve

    async def _connected(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.task = asyncio.current_task()
        await self._serve(self)

    def _note(self) -> None:
        if not self.closed.is_set():
            self.closed_at = asyncio.get_running_loop().time()
            self.closed.set()

    def eof_received(self) -> bool | None:
        """Note that the client sent its FIN."""
        self._note()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection broke or was closed."""
        self._note()
        super().connection_lost(exc)


class ModelServer:
    """What it was asked is in `requests`, in order; `script` says what it will do."""

    def __init__(self, *, idle_close_s: float = IDLE_CLOSE_S) -> None:
        self.script: deque[Behaviour] = deque()
        self.requests: list[Exchange] = []
        self.connections: list[_Connection] = []
        self.listing: Behaviour = _lists_one_model
        self.url = ""
        self._idle_close_s = idle_close_s
        self._arrived = asyncio.Event()

    @property
    def open_connections(self) -> int:
        """Count the connections that the client keeps."""
        return sum(not connection.closed.is_set() for connection in self.connections)

    async def request(self, number: int = 1, timeout_s: float = 5.0) -> Exchange:
        """Wait for the n-th request, and for what its behaviour does before it waits."""
        async with asyncio.timeout(timeout_s):
            while len(self.requests) < number:
                self._arrived.clear()
                await self._arrived.wait()
            await self.requests[number - 1].answered.wait()
        return self.requests[number - 1]

    async def serve(self, connection: _Connection) -> None:
        """Answer one connection's requests until one of the two leaves."""
        self.connections.append(connection)
        try:
            while not connection.closed.is_set():
                async with asyncio.timeout(self._idle_close_s):
                    exchange = await _read_request(connection)
                self.requests.append(exchange)
                self._arrived.set()
                try:
                    await self._behaviour(exchange)(exchange)
                finally:
                    exchange.answered.set()
        except (Gone, TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            connection.writer.close()

    def _behaviour(self, exchange: Exchange) -> Behaviour:
        if exchange.method == "GET" and exchange.path == "/v1/models":
            return self.listing
        return self.script.popleft() if self.script else _streams_the_default


async def _lists_one_model(exchange: Exchange) -> None:
    await exchange.reply(200, wire.models(wire.MODEL))


async def _streams_the_default(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(DEFAULT_ANSWER)
    await exchange.end()


async def _read_request(connection: _Connection) -> Exchange:
    head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await connection.reader.readexactly(int(headers.get("content-length", 0)))
    return Exchange(connection, method, path, headers, body)


@asynccontextmanager
async def model_server(**options: Any) -> AsyncIterator[ModelServer]:
    """Run a server for a block; `server.url` ends in /v1."""
    server = ModelServer(**options)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: _Connection(server.serve), "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()
        for connection in server.connections:
            if connection.task is not None:
                connection.task.cancel()
                with suppress(asyncio.CancelledError):
                    await connection.task


def refusing_url() -> str:
    """Return the URL of a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


@contextmanager
def deaf_url() -> Iterator[str]:
    """Give the URL of a port whose host never answers a connection: the listener's backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.socket() as filler:
            filler.connect(address)
            yield f"http://127.0.0.1:{address[1]}/v1"
