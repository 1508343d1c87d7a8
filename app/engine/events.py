"""What happens in a turn: a closed union, past tense, with only what a surface cannot work out for itself.

Every event of a run has a sequence number from 1. Text is not repeated in later events: readers add it up.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from app.inference.failures import RunErrorCode
from app.kit.wire import Answer

IncompleteReason = Literal["max_completion_tokens", "max_prompt_tokens"]
MessageCut = Literal["content_filter", "max_tokens", "run_cancelled", "run_expired", "run_failed"]


class TokenUsage(Answer, frozen=True):
    """Tokens as the model server reported them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
        )


class RunError(Struct, frozen=True):
    """Why a turn failed, for clients: it carries no content."""

    code: RunErrorCode
    message: str


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="e"):
    """`at` is in whole seconds since 1970; text has none."""


class TurnQueued(Event, tag="queued", kw_only=True, frozen=True):
    """The turn was accepted with its input."""

    at: int


class TurnStarted(Event, tag="started", kw_only=True, frozen=True):
    """An executor took the turn and the model server accepted the request."""

    at: int


class MessageStarted(Event, tag="message", kw_only=True, frozen=True):
    """The model begins an answer, in a step of its own."""

    at: int
    step_id: str
    message_id: str


class TextAdded(Event, tag="t", kw_only=True, frozen=True):
    """A piece of the answer's text."""

    text: str


class MessageFinished(Event, tag="message_finished", kw_only=True, frozen=True):
    """The answer is whole."""

    at: int
    usage: TokenUsage


class MessageStopped(Event, tag="message_stopped", kw_only=True, frozen=True):
    """The answer ended early; what there is of it is kept, nothing is kept of nothing.

    Its step completes when the model reached a limit of length; otherwise it shares the turn's fate.
    """

    at: int
    reason: MessageCut
    usage: TokenUsage | None = None
    error: RunError | None = None


class ReasoningStarted(Event, tag="reasoning", kw_only=True, frozen=True):
    """The model begins to reason, before it answers."""

    at: int
    item_id: str


class ReasoningAdded(Event, tag="r", kw_only=True, frozen=True):
    """A piece of what the model reasons."""

    text: str


class ReasoningFinished(Event, tag="reasoning_finished", kw_only=True, frozen=True):
    """What the model reasoned is whole, or as long as it got."""

    at: int


class ToolCallsStarted(Event, tag="tools", kw_only=True, frozen=True):
    """The model begins to call tools, in a step of its own."""

    at: int
    step_id: str


class ToolCallAdded(Event, tag="call", kw_only=True, frozen=True):
    """One more call: which function. Calls are numbered from 0 in their step."""

    index: int
    id: str
    name: str


class ArgumentsAdded(Event, tag="a", kw_only=True, frozen=True):
    """A piece of a call's arguments, as the model wrote it."""

    index: int
    text: str


class OutputsRequired(Event, tag="action", kw_only=True, frozen=True):
    """The calls are whole: the turn waits until the client submits their outputs."""

    at: int
    usage: TokenUsage


class OutputsSubmitted(Event, tag="outputs", kw_only=True, frozen=True):
    """The client submitted every output, by call id. The turn is queued again."""

    at: int
    outputs: dict[str, str]


class CallsFinished(Event, tag="calls_finished", kw_only=True, frozen=True):
    """The calls are whole and the client's from now on: the turn does not wait for their outputs."""

    at: int
    usage: TokenUsage


class ToolCallsStopped(Event, tag="tools_stopped", kw_only=True, frozen=True):
    """The calls ended without outputs: their step shares the turn's fate, but completes at a limit of length."""

    at: int
    reason: MessageCut
    usage: TokenUsage | None = None
    error: RunError | None = None


class TurnCancelling(Event, tag="cancelling", kw_only=True, frozen=True):
    """The client asked to stop the turn."""

    at: int


class TurnCancelled(Event, tag="cancelled", kw_only=True, frozen=True):
    """The turn was stopped."""

    at: int
    usage: TokenUsage = TokenUsage()


class TurnRequeued(Event, tag="requeued", kw_only=True, frozen=True):
    """The attempt was given up and the turn is queued again: what it had made so far does not count."""

    at: int


class TurnCompleted(Event, tag="completed", kw_only=True, frozen=True):
    """The turn ended as it should."""

    at: int
    usage: TokenUsage


class TurnIncomplete(Event, tag="incomplete", kw_only=True, frozen=True):
    """The turn ended at a limit of tokens."""

    at: int
    reason: IncompleteReason
    usage: TokenUsage


class TurnFailed(Event, tag="failed", kw_only=True, frozen=True):
    """The turn could not be carried out."""

    at: int
    error: RunError
    usage: TokenUsage = TokenUsage()


class TurnExpired(Event, tag="expired", kw_only=True, frozen=True):
    """The turn's time was up."""

    at: int
    usage: TokenUsage = TokenUsage()


TurnEvent = (
    TurnQueued
    | TurnStarted
    | MessageStarted
    | TextAdded
    | MessageFinished
    | MessageStopped
    | ReasoningStarted
    | ReasoningAdded
    | ReasoningFinished
    | ToolCallsStarted
    | ToolCallAdded
    | ArgumentsAdded
    | CallsFinished
    | OutputsRequired
    | OutputsSubmitted
    | ToolCallsStopped
    | TurnCancelling
    | TurnCancelled
    | TurnRequeued
    | TurnCompleted
    | TurnIncomplete
    | TurnFailed
    | TurnExpired
)
TurnEnded = TurnCompleted | TurnIncomplete | TurnFailed | TurnExpired | TurnCancelled
Deltas = TextAdded | ReasoningAdded | ToolCallAdded | ArgumentsAdded
"""What happens many times in an answer and tells no time."""
Pieces = Deltas | MessageStarted | ReasoningStarted | ToolCallsStarted
"""What is told at once and flushed soon; everything else is on disk before it is told."""

encode_events = msgspec.json.Encoder().encode
decode_events = msgspec.json.Decoder(list[TurnEvent]).decode
