"""Server-sent events: bytes as they arrive in, whole events out. Knows the framing, not the events."""

import re
from collections.abc import Iterator
from typing import NamedTuple

BOM = b"\xef\xbb\xbf"
LINE_END = re.compile(rb"\r\n|\n|\r")


class ServerEvent(NamedTuple):
    """One event: its name (None where the stream gave none), its data and the last id seen."""

    event: str | None
    data: bytes
    id: str | None = None


class SseParser:
    """Incremental parser; tolerates comments, CRLF, lone CR and reads split at any byte."""

    def __init__(self) -> None:
        self._buffer = b""
        self._started = False
        self._after_cr = False
        self._name: str | None = None
        self._data: list[bytes] = []
        self._id: str | None = None

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Take the next bytes and give the events they complete."""
        self._buffer += chunk
        return [event for line in self._lines() if (event := self._take(line))]

    @property
    def pending(self) -> bool:
        """Say whether bytes were received that belong to no whole event yet."""
        return bool(self._buffer or self._data or self._name)

    def _lines(self) -> Iterator[bytes]:
        if not self._started:
            if BOM.startswith(self._buffer) and self._buffer != BOM:
                return  # could still become a byte order mark
            self._buffer = self._buffer.removeprefix(BOM)
            self._started = True
        if self._after_cr and self._buffer:
            # The CR ended its line at once; its LF came with this read.
            self._buffer = self._buffer.removeprefix(b"\n")
            self._after_cr = False
        while end := LINE_END.search(self._buffer):
            self._after_cr = end.group() == b"\r" and end.end() == len(self._buffer)
            line, self._buffer = self._buffer[: end.start()], self._buffer[end.end() :]
            yield line

    def _take(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value.decode()
        elif field == b"data":
            self._data.append(value)
        elif field == b"id" and b"\0" not in value:
            self._id = value.decode()
        return None

    def _dispatch(self) -> ServerEvent | None:
        name, data = self._name, self._data
        self._name, self._data = None, []
        return ServerEvent(name, b"\n".join(data), self._id) if data else None


def parse(body: bytes) -> list[ServerEvent]:
    """Parse a whole body at once."""
    return SseParser().feed(body)
