"""A turn as the engine carries it: what to ask the model, and where its events stand."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from app.engine.context import Past
from app.engine.events import (
    ArgumentsAdded,
    CallsFinished,
    Deltas,
    MessageFinished,
    MessageStarted,
    MessageStopped,
    OutputsRequired,
    OutputsSubmitted,
    ReasoningAdded,
    ReasoningFinished,
    ReasoningStarted,
    TextAdded,
    TokenUsage,
    ToolCallAdded,
    ToolCallsStarted,
    ToolCallsStopped,
    TurnCancelled,
    TurnCompleted,
    TurnEvent,
    TurnExpired,
    TurnFailed,
    TurnIncomplete,
    TurnRequeued,
)
from app.engine.lifecycle import ENDED, Status, advance

Surface = Literal["run", "response"]


class TurnSpec(Struct, frozen=True, kw_only=True):
    """What a surface submits: everything that stays the same for the whole turn.

    A `response` tells what the model reasons and hands its calls over; a `run` waits for their outputs. One that is not
    `recorded` leaves nothing on disk. What is `said` to the model comes after the thread's past up to position `until`,
    and 0 is before all of it.
    `whole_context`: the turn fails rather than that anything is left out.
    """

    run_id: str
    thread_id: str
    project_id: str
    assistant_id: str | None
    fence: int
    expires_at: int
    key_id: str | None = None
    model: str
    instructions: str
    temperature: float | None = None
    top_p: float | None = None
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    last_messages: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    surface: Surface = "run"
    whole_context: bool = False
    recorded: bool = True
    said: Sequence[Past] = ()
    until: int | None = None


NUMBERS_LEFT = 1_000_000
"""More than any attempt tells; so a reader that had seen more than the disk kept still sees all of the next one."""


class Stamped(Struct, frozen=True):
    """An event and its number in the run."""

    seq: int
    event: TurnEvent


class Call:
    """A tool call as it grows, and its output once the client sent it."""

    __slots__ = ("arguments", "id", "name", "output")

    def __init__(self, id: str, name: str) -> None:  # noqa: A002 - the wire's name
        self.id = id
        self.name = name
        self.arguments = ""
        self.output: str | None = None

    def detail(self) -> dict[str, Any]:
        """Return the call as a step's details hold it."""
        function = {"name": self.name, "arguments": self.arguments, "output": self.output}
        return {"type": "function", "id": self.id, "function": function}

    def requirement(self) -> dict[str, Any]:
        """Return the call as a run's required action holds it."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


class Turn:
    """The moving part: status, the newest number, the step that is being made. Rebuilt by its own events."""

    def __init__(self, spec: TurnSpec, past: Sequence[Stamped]) -> None:
        self.spec = spec
        self.status: Status | None = None
        self.at = 0
        self.last_seq = 0
        self.step_id: str | None = None
        self.message_id: str | None = None
        self.message_open = False
        self.tools_open = False
        self.reasons = False
        self.reasoned_id: str | None = None
        self.reasoning: list[str] = []
        self.rounds = 0
        self.text: list[str] = []
        self.calls: list[Call] = []
        self.usage = TokenUsage()
        self.asked: list[dict[str, Any]] = []
        """What the newest model call was shown; nothing for what happened in another process."""
        self.cut_short = False
        """Whether the newest model call was ended before it told its usage."""
        for stamped in past:
            self._take(stamped.event)
            self.last_seq = stamped.seq

    @property
    def ended(self) -> bool:
        """Tell whether nothing more can happen."""
        return self.status in ENDED

    @property
    def rests(self) -> bool:
        """Tell whether nothing more happens without the client."""
        return self.ended or self.status == "requires_action"

    @property
    def produced(self) -> bool:
        """Tell whether the model has said anything in the step that is open."""
        return self.tools_open or bool(self.reasoning) or (self.message_open and bool(self.text))

    def leave_numbers(self) -> None:
        """Leave a gap: the owner before may have told text under numbers that never reached the disk."""
        self.last_seq += NUMBERS_LEFT

    def stamp(self, events: Sequence[TurnEvent]) -> list[Stamped]:
        """Take events in and number them. Raises IllegalTransition."""
        return [self._take(event) for event in events]

    def _take(self, event: TurnEvent) -> Stamped:
        self.status = advance(self.status, event)
        self.last_seq += 1
        if not isinstance(event, Deltas):
            self.at = event.at
        match event:
            case TextAdded():
                self.text.append(event.text)
            case ArgumentsAdded():
                self.calls[event.index].arguments += event.text
            case MessageStarted():
                self.step_id, self.message_id, self.message_open = event.step_id, event.message_id, True
                self.cut_short = False
                self.text.clear()
            case MessageFinished():
                self.message_open = False
            case MessageStopped():
                self.message_open, self.cut_short = False, event.reason != "max_tokens"
            case ToolCallsStarted():
                self.step_id, self.tools_open, self.cut_short = event.step_id, True, False
                self.calls = []
            case ToolCallAdded():
                self.calls.append(Call(event.id, event.name))
            case _:
                self._take_rarer(event)
        return Stamped(self.last_seq, event)

    def _take_rarer(self, event: TurnEvent) -> None:
        match event:
            case ReasoningAdded():
                self.reasoning.append(event.text)
            case ReasoningStarted():
                self.reasons, self.reasoned_id = True, event.item_id
                self.reasoning.clear()
            case ReasoningFinished():
                self.reasons, self.cut_short = False, True  # unless an answer follows at once
            case CallsFinished():
                self.tools_open = False
            case OutputsRequired():
                self.usage += event.usage
            case OutputsSubmitted():
                self.tools_open = False
                self.rounds += 1
                for call in self.calls:
                    call.output = event.outputs.get(call.id)
            case ToolCallsStopped():
                self.tools_open, self.cut_short = False, event.reason != "max_tokens"
            case TurnRequeued():
                self.message_open = self.tools_open = self.reasons = False
                self.text.clear()
                self.reasoning.clear()
            case TurnCompleted() | TurnIncomplete() | TurnCancelled() | TurnExpired() | TurnFailed():
                self.usage = event.usage
            case _:
                pass
