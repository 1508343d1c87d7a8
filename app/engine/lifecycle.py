"""The statuses of a run and the one function that says which event may follow which. Pure."""

from typing import Literal

from app.engine.events import (
    ArgumentsAdded,
    CallsFinished,
    MessageFinished,
    MessageStarted,
    MessageStopped,
    OutputsRequired,
    OutputsSubmitted,
    ReasoningAdded,
    ReasoningFinished,
    ReasoningStarted,
    TextAdded,
    ToolCallAdded,
    ToolCallsStarted,
    ToolCallsStopped,
    TurnCancelled,
    TurnCancelling,
    TurnCompleted,
    TurnEvent,
    TurnExpired,
    TurnFailed,
    TurnIncomplete,
    TurnQueued,
    TurnRequeued,
    TurnStarted,
)

Status = Literal[
    "queued",
    "in_progress",
    "requires_action",
    "cancelling",
    "cancelled",
    "failed",
    "completed",
    "incomplete",
    "expired",
]

ENDED: frozenset[Status] = frozenset({"cancelled", "failed", "completed", "incomplete", "expired"})

# Where each event may occur, and the status it leads to (None: the status stays).
TRANSITIONS: dict[type[TurnEvent], tuple[frozenset[Status | None], Status | None]] = {
    TurnQueued: (frozenset({None}), "queued"),
    TurnStarted: (frozenset({"queued"}), "in_progress"),
    MessageStarted: (frozenset({"in_progress"}), None),
    TextAdded: (frozenset({"in_progress"}), None),
    MessageFinished: (frozenset({"in_progress"}), None),
    MessageStopped: (frozenset({"in_progress", "cancelling"}), None),
    ReasoningStarted: (frozenset({"in_progress"}), None),
    ReasoningAdded: (frozenset({"in_progress"}), None),
    ReasoningFinished: (frozenset({"in_progress", "cancelling"}), None),
    ToolCallsStarted: (frozenset({"in_progress"}), None),
    ToolCallAdded: (frozenset({"in_progress"}), None),
    ArgumentsAdded: (frozenset({"in_progress"}), None),
    CallsFinished: (frozenset({"in_progress"}), None),
    OutputsRequired: (frozenset({"in_progress"}), "requires_action"),
    OutputsSubmitted: (frozenset({"requires_action"}), "queued"),
    ToolCallsStopped: (frozenset({"in_progress", "requires_action", "cancelling"}), None),
    TurnCancelling: (frozenset({"queued", "in_progress", "requires_action"}), "cancelling"),
    TurnCancelled: (frozenset({"cancelling"}), "cancelled"),
    TurnRequeued: (frozenset({"in_progress"}), "queued"),
    TurnCompleted: (frozenset({"in_progress"}), "completed"),
    TurnIncomplete: (frozenset({"in_progress"}), "incomplete"),
    TurnFailed: (frozenset({"in_progress"}), "failed"),
    TurnExpired: (frozenset({"queued", "in_progress", "requires_action"}), "expired"),
}


class IllegalTransition(Exception):
    """An event that may not occur in this status: a fault in the engine, or a writer that came too late."""


def advance(status: Status | None, event: TurnEvent) -> Status:
    """Return the status after an event. Raises IllegalTransition."""
    allowed, after = TRANSITIONS[type(event)]
    if status not in allowed:
        raise IllegalTransition(f"{type(event).__name__} in status {status}")
    reached = after or status
    assert reached is not None
    return reached
