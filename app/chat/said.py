"""What a chat with a thread was sent: what stands before the thread's past, what comes after it, what of it is kept.

Pure. System and developer messages at the beginning stand before the past; all that follows comes after it, in its
order. The thread keeps what users and assistants said. Everything else is shown and not kept: later system messages,
and the calls and outputs of tools, which in a thread belong to the steps of a run.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Literal

from msgspec import Struct, ValidationError, convert

from app.engine.context import Sent
from app.errors import InvalidRequest
from app.kit.wire import Foreign
from app.messages.content import NewContent
from app.messages.schemas import CreateMessage
from app.web.refusals import refusal

INSTRUCTIONS = ("system", "developer")


class SentPart(Foreign, kw_only=True, frozen=True):
    """A part of a message's content."""

    type: str
    text: str | None = None


class SentCall(Foreign, kw_only=True, frozen=True):
    """A tool call that a client sends back."""

    function: dict[str, Any] | None = None


class SentMessage(Foreign, kw_only=True, frozen=True):
    """What is read of a message; the model server reads all of it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[SentPart] | None = None
    tool_calls: list[SentCall] | None = None
    function_call: dict[str, Any] | None = None

    @property
    def is_kept(self) -> bool:
        """Tell whether a thread keeps it."""
        calls = self.tool_calls or self.function_call
        return self.role == "user" or (self.role == "assistant" and bool(self.content) and not calls)


class Said(Struct, frozen=True):
    """A request's messages, divided. `kept` are those of `new` that the thread keeps, by their places in it."""

    opening: list[dict[str, Any]]
    new: list[dict[str, Any]]
    kept: dict[int, CreateMessage]

    def sent(self, ids: Sequence[str]) -> list[Sent]:
        """Return what is shown after the past, given the ids of what is kept, in its order."""
        id_at = dict(zip(self.kept, ids, strict=True))
        return [Sent(message, id_at.get(at)) for at, message in enumerate(self.new)]


def divided(messages: Sequence[dict[str, Any]]) -> Said:
    """Divide a request's messages. Raises InvalidRequest, also for what a thread cannot keep."""
    sent = {"messages": messages}
    try:
        read = convert(messages, list[SentMessage])
    except ValidationError as error:
        raise _refused(error, "`$", "`$.messages", sent) from None
    before = sum(1 for _ in takewhile(lambda message: message.role in INSTRUCTIONS, read))
    kept = {
        at - before: CreateMessage(role=_role(message), content=_content(messages, at))
        for at, message in enumerate(read)
        if at >= before and message.is_kept
    }
    return Said(list(messages[:before]), list(messages[before:]), kept)


def _role(message: SentMessage) -> Literal["user", "assistant"]:
    return "user" if message.role == "user" else "assistant"


def _content(messages: Sequence[dict[str, Any]], at: int) -> Any:
    try:
        return convert(messages[at].get("content"), NewContent)
    except ValidationError as error:
        raise _refused(error, "`$", f"`$.messages[{at}].content", {"messages": messages}) from None


def _refused(error: ValidationError, root: str, path: str, sent: Any) -> InvalidRequest:
    """Say what is wrong, and where in the request."""
    text = str(error)
    return refusal(text.replace(root, path, 1) if root in text else f"{text} - at {path}`", sent)
