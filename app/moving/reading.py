"""From bytes to lines: one line of a file may hold a thread with all of its messages. Pure."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, json
from msgspec.structs import replace

from app.moving.lines import Line, ListLine, MessageLine, ThreadLine
from app.web.refusals import refusal

T = TypeVar("T")

REASON_LENGTH = 300
"""A reason may quote a value that is not what was expected: of a long one its beginning is enough."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decoder: json.Decoder[Line] = json.Decoder(Line)


class BadLine(Exception):
    """A line that cannot be taken; the message says why. `thread_id` is there when it would have been a thread."""

    def __init__(self, reason: str, thread_id: str | None = None) -> None:
        super().__init__(reason if len(reason) <= REASON_LENGTH else f"{reason[:REASON_LENGTH]}…")
        self.thread_id = thread_id


class _Head(Struct, rename={"kind": "object"}):
    kind: Any = None
    id: Any = None


def read(text: bytes) -> list[Line]:
    """Return what a line holds, a thread before its messages. Raises BadLine."""
    try:
        return _read(text)
    except BadLine as bad:
        raise BadLine(str(bad), _thread_id(text)) from None


def _read(text: bytes) -> list[Line]:
    line = _decoded(text)
    if not isinstance(line, ThreadLine) or not line.messages:
        return [_without_messages(line)]
    return [_without_messages(line), *in_order([_in_thread(line.id, one) for one in _messages(line)], _itself)]


def in_order(messages: Sequence[T], line_of: Callable[[T], MessageLine]) -> Sequence[T]:
    """Return messages oldest first, as a thread has them; those that have positions are left as they are.

    The API lists the newest first unless it is asked otherwise, and seconds are all that it tells of their time.
    """
    lines = [line_of(one) for one in messages]
    if not lines or any(line.position is not UNSET for line in lines):
        return messages
    newest_first = lines[0].created_at > lines[-1].created_at
    return sorted(reversed(messages) if newest_first else messages, key=lambda one: line_of(one).created_at)


def _itself(message: MessageLine) -> MessageLine:
    return message


def _decoded(text: bytes) -> Line:
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadLine(refusal(str(error), _untyped(text)).message) from None
    except UNREADABLE:
        raise BadLine("It is not JSON.") from None


def _untyped(text: bytes) -> object:
    try:
        return json.decode(text)
    except UNREADABLE:
        raise BadLine("It is not JSON.") from None


def _thread_id(text: bytes) -> str | None:
    try:
        head = json.decode(text, type=_Head)
    except UNREADABLE:
        return None
    return head.id if head.kind == "thread" and isinstance(head.id, str) else None


def _without_messages(line: Line) -> Line:
    return replace(line, messages=UNSET) if isinstance(line, ThreadLine) else line


def _messages(thread: ThreadLine) -> list[MessageLine]:
    given = [thread.messages] if isinstance(thread.messages, ListLine) else thread.messages or []
    return [one for part in given for one in (part.data if isinstance(part, ListLine) else [part])]


def _in_thread(thread_id: str, message: MessageLine) -> MessageLine:
    if message.thread_id not in (UNSET, thread_id):
        raise BadLine(f"Message '{message.id}' is of another thread, '{message.thread_id}'.")
    return replace(message, thread_id=thread_id)
