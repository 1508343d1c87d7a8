"""A turn as the engine carries it: what to ask the model, and where its events stand."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from app.engine.events import MessageFinished, MessageStarted, MessageStopped, TextAdded, TurnEvent
from app.engine.lifecycle import ENDED, Status, advance


class TurnSpec(Struct, frozen=True, kw_only=True):
    """What a surface submits: everything that stays the same for the whole turn."""

    run_id: str
    thread_id: str
    project_id: str
    assistant_id: str | None
    fence: int
    expires_at: int
    model: str
    instructions: str
    temperature: float | None = None
    top_p: float | None = None
    max_completion_tokens: int | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    last_messages: int | None = None


class Stamped(Struct, frozen=True):
    """An event and its number in the run."""

    seq: int
    event: TurnEvent


class Turn:
    """The moving part: status, the newest number, and the message that is being made. Rebuilt by its own events."""

    def __init__(self, spec: TurnSpec, past: Sequence[Stamped]) -> None:
        self.spec = spec
        self.status: Status | None = None
        self.last_seq = 0
        self.step_id: str | None = None
        self.message_id: str | None = None
        self.message_open = False
        self.text: list[str] = []
        for stamped in past:
            self._take(stamped.event)

    @property
    def ended(self) -> bool:
        """Tell whether nothing more can happen."""
        return self.status in ENDED

    def stamp(self, events: Sequence[TurnEvent]) -> list[Stamped]:
        """Take events in and number them. Raises IllegalTransition."""
        return [self._take(event) for event in events]

    def _take(self, event: TurnEvent) -> Stamped:
        self.status = advance(self.status, event)
        self.last_seq += 1
        match event:
            case TextAdded():
                self.text.append(event.text)
            case MessageStarted():
                self.step_id, self.message_id, self.message_open = event.step_id, event.message_id, True
                self.text.clear()
            case MessageFinished() | MessageStopped():
                self.message_open = False
            case _:
                pass
        return Stamped(self.last_seq, event)
