"""Splits a model server's byte stream into the payloads of its `data:` lines."""

LIMIT_BYTES = 4 * 1024 * 1024


class LineTooLong(Exception):
    """The server sent more than LIMIT_BYTES without ending a line: not an event stream."""


class DataLines:
    """Feed it bytes as they arrive; it returns the payloads that are complete."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payload of each `data:` line that ended in these bytes. Comments and blanks are passed over."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LIMIT_BYTES:
            raise LineTooLong
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]
