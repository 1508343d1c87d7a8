"""One connection to a model server and the answer that comes over it: HTTP/1.1, one request at a time."""

import asyncio
from typing import cast

import httptools

from app.inference.failures import ModelBroke, ModelFailure, ModelUnreachable

HEAD_LIMIT_BYTES = 65_536
BUFFER_BYTES = 262_144
"""How much of an answer waits here for its reader before no more is taken from the socket."""
BROKE_OFF = "The connection to the model server broke."
CUT_OFF = "The model server's answer was cut off."
UNREADABLE = "The model server's answer was cut off or unreadable."


class Exchange(asyncio.Protocol):
    """A connection, and the answer that comes over it. `status` is 0 until the answer's head is there."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._is_closed = False
        self._is_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._take_more()
        self.status = 0
        self.content_type = "application/json"
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self._has_length = False
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._is_whole = False
        self._may_be_kept = False
        self._failure: ModelFailure | None = None

    @property
    def is_reusable(self) -> bool:
        """Tell whether the connection can take another request: this answer is whole, and both sides keep it."""
        return self._is_whole and self._may_be_kept and not self._is_closed

    async def ask(self, head: bytes, body: bytes) -> None:
        """Send a request; return once the head of its answer is there. Raises ModelUnreachable, ModelBroke."""
        self._begin()
        self._transport.writelines((head, body))
        while not self.status:
            await self._change()

    async def read_some(self) -> bytes:
        """Return what has come since, as soon as there is any; nothing at the end. Raises ModelBroke."""
        while not self._pieces:
            if self._is_whole:
                return b""
            await self._change()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._waiting_bytes = 0
        self._take_more()
        return data

    async def read(self) -> bytes:
        """Return the rest of the answer. Raises ModelBroke."""
        pieces = []
        while data := await self.read_some():
            pieces.append(data)
        return b"".join(pieces)

    def close(self) -> None:
        """Give the connection up at once: this is what frees an engine that still answers."""
        if not self._is_closed:
            self._is_closed = True
            self._transport.abort()
            self._fail(ModelBroke(CUT_OFF))

    async def _change(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_closed:
            raise ModelUnreachable(BROKE_OFF)
        self._reader = self._loop.create_future()
        await self._reader

    def _changed(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def _fail(self, failure: ModelFailure) -> None:
        if not self._is_whole and self._failure is None:
            self._failure = failure
            self._changed()

    def _take_more(self) -> None:
        if self._is_paused and not self._is_closed:
            self._is_paused = False
            self._transport.resume_reading()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where to write."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take in what came. Where no answer is awaited, it is nothing that could be understood."""
        if self._is_whole:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(ModelBroke(UNREADABLE))
            self.close()
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self._fail(ModelBroke(UNREADABLE))
                self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end: of an answer without a length it is the end that was to come."""
        self._is_closed = True
        if exc is None and self.status and not self._has_length and self._failure is None:
            self._is_whole = True
            self._changed()
        self._fail(ModelBroke(CUT_OFF) if self.status else ModelUnreachable(BROKE_OFF))

    # What the parser calls. What follows a body in chunks, a trailer, is no header.

    def on_message_begin(self) -> None:
        """Refuse a second answer to one request; the first is not touched, the connection is not used again."""
        if self._is_whole:
            raise ValueError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep what matters of a header."""
        if self.status:
            return
        name = name.lower()
        if name == b"content-type":
            self.content_type = value.decode("latin-1")
        elif name in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        """Let the reader go on, unless another head will follow this one."""
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status
            self._may_be_kept = self._parser.should_keep_alive()
            self._changed()

    def on_body(self, data: bytes) -> None:
        """Hand a piece to the reader; stop taking more while it does not keep up."""
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > BUFFER_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._changed()

    def on_message_complete(self) -> None:
        """Note that the answer is whole."""
        if self.status:
            self._is_whole = True
            self._changed()
