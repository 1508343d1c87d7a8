"""A response as it grows: a pure reducer from the engine's events to the response and its output.

What an event changes is told as changes, in order, for whoever renders them; who only wants the end ignores them.
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from app.engine.events import (
    ArgumentsAdded,
    CallsFinished,
    MessageFinished,
    MessageStarted,
    MessageStopped,
    ReasoningAdded,
    ReasoningFinished,
    ReasoningStarted,
    RunError,
    TextAdded,
    ToolCallAdded,
    ToolCallsStopped,
    TurnCancelled,
    TurnCompleted,
    TurnEnded,
    TurnEvent,
    TurnExpired,
    TurnFailed,
    TurnIncomplete,
    TurnQueued,
    TurnRequeued,
    TurnStarted,
)
from app.items.schemas import (
    Item,
    ItemStatus,
    ReasoningText,
    ShownFunctionCall,
    ShownMessage,
    ShownOutputText,
    ShownReasoning,
)
from app.kit.ids import twin
from app.responses.schemas import Response, ResponseError, ResponseIncompleteDetails, usage_of

Kind = Literal["message", "reasoning", "function_call"]
OVERDUE = RunError("server_error", "The response was not finished within the time that one may take.")
TOO_LONG = ResponseIncompleteDetails(reason="max_output_tokens")
"""Why a response ends early: it has no other budget than that of its answer."""


class Growing:
    """An item of the output that is not whole yet. `index` is its place among all that were ever begun."""

    __slots__ = ("call_id", "head", "id", "index", "kind", "name", "pieces")

    def __init__(self, kind: Kind, item_id: str, index: int, *, call_id: str = "", name: str = "") -> None:
        self.kind = kind
        self.id = item_id
        self.index = index
        self.call_id = call_id
        self.name = name
        self.pieces: list[str] = []
        self.head = b""
        """How each of its deltas begins, once the first has been rendered."""

    @property
    def text(self) -> str:
        """What there is of it."""
        return "".join(self.pieces)

    def begun(self) -> Item:
        """Return it as it begins: nothing in it yet."""
        match self.kind:
            case "message":
                return ShownMessage(id=self.id, status="in_progress", role="assistant", content=[])
            case "reasoning":
                return ShownReasoning(id=self.id, status="in_progress", content=[])
            case "function_call":
                return self.item("in_progress")

    def item(self, status: ItemStatus) -> Item:
        """Return it with what there is of it."""
        match self.kind:
            case "message":
                part = ShownOutputText(text=self.text)
                return ShownMessage(id=self.id, status=status, role="assistant", content=[part])
            case "reasoning":
                return ShownReasoning(id=self.id, status=status, content=[ReasoningText(text=self.text)])
            case "function_call":
                called = {"call_id": self.call_id, "name": self.name, "arguments": self.text}
                return ShownFunctionCall(id=self.id, status=status, **called)


class Opened(Struct, frozen=True):
    """An item begins."""

    item: Growing


class Extended(Struct, frozen=True):
    """A piece was added to an item."""

    item: Growing
    text: str


class Closed(Struct, frozen=True):
    """An item is whole, or as long as it got."""

    growing: Growing
    item: Item


class Became(Struct, frozen=True):
    """The response changed; the name is that of the event that tells it."""

    name: str


Change = Opened | Extended | Closed | Became


class Progress:
    """One response. Starts from it as it was accepted."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self.ended = False
        self._open: list[Growing] = []
        self._begun = 0
        self._running = False

    def take(self, event: TurnEvent) -> Sequence[Change]:
        """Take an event in; return what it changes."""
        match event:
            case TextAdded() | ReasoningAdded():
                return self._extend(self._open[0], event.text)
            case ArgumentsAdded():
                return self._extend(self._open[event.index], event.text)
            case MessageStarted():
                return self._begin("message", event.message_id)
            case ReasoningStarted():
                return self._begin("reasoning", event.item_id)
            case ToolCallAdded():
                return self._begin("function_call", twin(event.id, "fc"), call_id=event.id, name=event.name)
            case MessageFinished() | ReasoningFinished() | CallsFinished():
                return self._close(kept=True)
            case MessageStopped():
                return self._close(last="incomplete", kept=any(item.pieces for item in self._open))
            case ToolCallsStopped():
                return self._close(last="incomplete", kept=event.reason == "max_tokens")
            case _:
                return self._take_rarer(event)

    def _take_rarer(self, event: TurnEvent) -> Sequence[Change]:
        match event:
            case TurnQueued():
                return [Became("created"), *self._queued()]
            case TurnStarted() if not self._running:
                self._running = True
                self.response = replace(self.response, status="in_progress")
                return [Became("in_progress")]
            case TurnRequeued():
                return self._give_up()
            case TurnCompleted() | TurnIncomplete() | TurnFailed() | TurnCancelled() | TurnExpired():
                self.ended = True
                name, changes = _end(event)
                self.response = replace(self.response, usage=usage_of(event.usage), **changes)
                return [Became(name)]
            case _:
                return []

    def _queued(self) -> list[Change]:
        """Tell that it waits; only a response of the background does so in sight of its client."""
        return [Became("queued")] if self.response.background else []

    def _begin(self, kind: Kind, item_id: str, *, call_id: str = "", name: str = "") -> Sequence[Change]:
        item = Growing(kind, item_id, self._begun, call_id=call_id, name=name)
        self._begun += 1
        self._open.append(item)
        return (Opened(item),)

    def _extend(self, item: Growing, text: str) -> Sequence[Change]:
        item.pieces.append(text)
        return (Extended(item, text),)

    def _close(self, *, last: ItemStatus = "completed", kept: bool) -> list[Change]:
        """End what is open. Where the model's answer ended early, it was in the last of its calls."""
        growing, self._open = self._open, []
        items = [one.item(last if one is growing[-1] else "completed") for one in growing]
        if kept:
            self.response.output.extend(items)
        return [Closed(one, item) for one, item in zip(growing, items, strict=True)]

    def _give_up(self) -> list[Change]:
        """Close what the attempt had begun, for readers who were told of it: nothing of it counts."""
        changes = self._close(last="incomplete", kept=False)
        self.response = replace(self.response, output=[])
        if self.response.background and self._running:
            self._running = False
            self.response = replace(self.response, status="queued")
            changes += self._queued()
        return changes


def as_accepted(response: Response) -> Response:
    """Return a response as it was when it was accepted."""
    return replace(
        response,
        status="queued" if response.background else "in_progress",
        completed_at=None,
        error=None,
        incomplete_details=None,
        usage=None,
        output=[],
    )


def _end(event: TurnEnded) -> tuple[str, dict[str, Any]]:
    """Return the name of the event that ends a response, and what becomes of it."""
    match event:
        case TurnCompleted():
            return "completed", {"status": "completed", "completed_at": event.at}
        case TurnIncomplete():
            return "incomplete", {"status": "incomplete", "incomplete_details": TOO_LONG}
        case TurnFailed():
            return "failed", {"status": "failed", "error": error_of(event.error)}
        case TurnExpired():
            return "failed", {"status": "failed", "error": error_of(OVERDUE)}
        case TurnCancelled():
            # The original's list of events has none for it; the status tells.
            return "incomplete", {"status": "cancelled"}


def error_of(error: RunError) -> ResponseError:
    """Return a turn's error as a response tells it."""
    return ResponseError(code=error.code, message=error.message)
