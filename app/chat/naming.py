"""Gives an answer that is kept the id under which it is kept. vLLM takes it; other model servers make one of their own.

Pure. Only the id is written anew; the rest of an answer stays as it came.
"""

import re

import msgspec
from msgspec import Raw

from app.inference.failures import UNREADABLE

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_EVENTS = re.compile(rb"((?:\r?\n){2,})")


class Naming:
    """Names one answer, whole or streamed. One that has the right id from the start is not looked at any further."""

    def __init__(self, completion_id: str) -> None:
        self._id = Raw(msgspec.json.encode(completion_id))
        self._is_right = False

    def whole(self, answer: bytes) -> bytes:
        """Return an answer or a chunk with the id. What is neither stays as it is."""
        try:
            fields = _FIELDS.decode(answer)
        except UNREADABLE:
            return answer
        if "choices" not in fields:
            return answer
        if fields.get("id") == self._id:
            self._is_right = True
            return answer
        return msgspec.json.encode({**fields, "id": self._id})

    def events(self, data: bytes) -> bytes:
        """Return whole events of a stream, with the id in each."""
        if self._is_right:
            return data
        return b"".join(map(self._event, _EVENTS.split(data)))

    def _event(self, event: bytes) -> bytes:
        if self._is_right or not event.startswith(b"data:"):
            return event
        payload = event[5:].strip()
        named = self.whole(payload)
        return event if named is payload else b"data: " + named
