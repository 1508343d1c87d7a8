"""What a thread holds beside messages, as a model reads it: calls of tools, their outputs, words of the system."""

from collections.abc import Sequence
from typing import Any

from msgspec import json

from app.engine.context import Answered, Called, PastCall, PastCalls, PastMessage, Told
from app.kit.wire import Foreign


class KeptFunction(Foreign, kw_only=True, frozen=True):
    """What was called, with what, and what came of it."""

    name: str
    arguments: str
    output: str | None = None


class KeptCall(Foreign, kw_only=True, frozen=True):
    """One call."""

    id: str
    function: KeptFunction


class KeptCalls(Foreign, kw_only=True, frozen=True):
    """A step's details."""

    tool_calls: list[KeptCall]


class KeptItem(Foreign, kw_only=True, frozen=True):
    """An item's body, whatever its type."""

    role: str = ""
    content: Any = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: Any = None


decode_details = json.Decoder(KeptCalls).decode
decode_item = json.Decoder(KeptItem).decode


def told_in_step(details: str) -> Sequence[Told]:
    """Return a step's calls with their outputs, then those whose output, if any, is an item of its own."""
    calls = [(call.id, call.function) for call in decode_details(details).tool_calls]
    done = [
        PastCall(call_id, function.name, function.arguments, function.output)
        for call_id, function in calls
        if function.output is not None
    ]
    open_calls = [
        Called(call_id, function.name, function.arguments) for call_id, function in calls if function.output is None
    ]
    return [PastCalls(done), *open_calls] if done else open_calls


def told_in_item(kind: str, body: str) -> Sequence[Told]:
    """Return an item as a model reads it; nothing of those that it does not: what it reasoned before."""
    if kind == "reasoning":
        return ()
    item = decode_item(body)
    match kind:
        case "message":
            return (PastMessage("system", text_of(item.content)),)
        case "function_call":
            return (Called(item.call_id, item.name, item.arguments),)
        case "function_call_output":
            return (Answered(item.call_id, text_of(item.output)),)
        case _:
            return ()


def text_of(content: Any) -> str:
    """Return the text of content that is a string or a list of parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
