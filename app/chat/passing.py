"""What of a streamed answer goes on to the client: everything as it came, but for a usage that it did not ask for.

Pure. Bytes are looked through, never decoded and encoded: only the chunk of the usage, and errors, are read.
"""

import re
from collections.abc import Callable

from app.inference.chunks import Usage, decode_chunk
from app.inference.failures import UNREADABLE

LONGEST_EVENT = 4 * 1024 * 1024
_NO_CHOICES = (b'"choices":[]', b'"choices": []')
_END = re.compile(rb"\r?\n\r?\n")


class EventTooLong(Exception):
    """The model server sends something without end that is no event."""


class Passing:
    """Takes a stream's bytes in and gives those that the client gets, whole events only.

    `rewrite` makes the model server's error into the client's. `usage` is there once the server told it; `events`
    counts what came, which is about the tokens of the answer.
    """

    def __init__(self, *, with_usage: bool, rewrite: Callable[[object], bytes]) -> None:
        self._with_usage = with_usage
        self._rewrite = rewrite
        self._tail = b""
        self.usage: Usage | None = None
        self.events = 0
        self.failed = False

    def feed(self, data: bytes) -> bytes:
        """Take in what one read brought; return what goes on. Raises EventTooLong."""
        if self._tail:
            data = self._tail + data
            self._tail = b""
        end = _end_of_last_event(data)
        if end != len(data):
            self._tail, data = data[end:], data[:end]
            if len(self._tail) > LONGEST_EVENT:
                raise EventTooLong
        self.events += data.count(b"data:")
        if _NO_CHOICES[0] in data or _NO_CHOICES[1] in data or b'data: {"error"' in data:
            return b"".join(map(self._event, _END.split(data)[:-1]))
        return data

    def rest(self) -> bytes:
        """Return what came after the last whole event."""
        return self._tail

    def _event(self, event: bytes) -> bytes:
        whole = event + b"\n\n"
        if not event.startswith(b"data:"):
            return whole
        payload = event[5:].strip()
        try:
            chunk = decode_chunk(payload)
        except UNREADABLE:
            return whole
        if chunk.error is not None:
            self.failed = True
            return b"data: " + self._rewrite(chunk.error) + b"\n\n"
        if chunk.usage is not None and not chunk.choices:
            self.usage = chunk.usage
            return whole if self._with_usage else b""
        return whole


def _end_of_last_event(data: bytes) -> int:
    plain = data.rfind(b"\n\n") + 2
    if plain == len(data):
        return plain
    return max(plain if plain > 1 else 0, data.rfind(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0)
