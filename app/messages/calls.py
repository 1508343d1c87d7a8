"""Tool calls of a thread as a model reads them again: kept in the details of the step that made them."""

from msgspec import json

from app.engine.context import PastCall, PastCalls
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


decode_details = json.Decoder(KeptCalls).decode


def calls_of(details: str) -> PastCalls:
    """Return a completed step's calls and outputs; a call that was cut short has none and is not shown again."""
    functions = [(call.id, call.function) for call in decode_details(details).tool_calls]
    return PastCalls(
        [
            PastCall(call_id, function.name, function.arguments, function.output)
            for call_id, function in functions
            if function.output is not None
        ]
    )
