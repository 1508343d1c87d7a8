"""Every status against every event: what may follow, and nothing else. The table is written out here once more."""

from typing import get_args

import pytest

from app.engine.events import (
    ArgumentsAdded,
    CallsFinished,
    Event,
    MessageFinished,
    MessageStarted,
    MessageStopped,
    OutputsRequired,
    OutputsSubmitted,
    ReasoningAdded,
    ReasoningFinished,
    ReasoningStarted,
    RunError,
    TextAdded,
    TokenUsage,
    ToolCallAdded,
    ToolCallsStarted,
    ToolCallsStopped,
    TurnCancelled,
    TurnCancelling,
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
from app.engine.lifecycle import ENDED, IllegalTransition, Status, advance

USAGE = TokenUsage()
STATUSES: tuple[Status | None, ...] = (None, *get_args(Status))
EVENTS: tuple[TurnEvent, ...] = (
    TurnQueued(at=1),
    TurnStarted(at=1),
    MessageStarted(at=1, step_id="step_1", message_id="msg_1"),
    TextAdded(text="a"),
    MessageFinished(at=1, usage=USAGE),
    MessageStopped(at=1, reason="run_failed"),
    ReasoningStarted(at=1, item_id="rs_1"),
    ReasoningAdded(text="a"),
    ReasoningFinished(at=1),
    ToolCallsStarted(at=1, step_id="step_1"),
    ToolCallAdded(index=0, id="call_1", name="look_up"),
    ArgumentsAdded(index=0, text="{"),
    CallsFinished(at=1, usage=USAGE),
    OutputsRequired(at=1, usage=USAGE),
    OutputsSubmitted(at=1, outputs={"call_1": "found"}),
    ToolCallsStopped(at=1, reason="run_cancelled"),
    TurnCancelling(at=1),
    TurnCancelled(at=1),
    TurnRequeued(at=1),
    TurnCompleted(at=1, usage=USAGE),
    TurnIncomplete(at=1, reason="max_completion_tokens", usage=USAGE),
    TurnFailed(at=1, error=RunError("server_error", "It failed.")),
    TurnExpired(at=1),
)
SAME = {"in_progress": "in_progress"}
STOPS = SAME | {"cancelling": "cancelling"}
MAY: dict[str, dict[str | None, str]] = {
    "TurnQueued": {None: "queued"},
    "TurnStarted": {"queued": "in_progress"},
    "MessageStarted": SAME,
    "TextAdded": SAME,
    "MessageFinished": SAME,
    "MessageStopped": STOPS,
    "ReasoningStarted": SAME,
    "ReasoningAdded": SAME,
    "ReasoningFinished": STOPS,
    "ToolCallsStarted": SAME,
    "ToolCallAdded": SAME,
    "ArgumentsAdded": SAME,
    "CallsFinished": SAME,
    "OutputsRequired": {"in_progress": "requires_action"},
    "OutputsSubmitted": {"requires_action": "queued"},
    "ToolCallsStopped": STOPS | {"requires_action": "requires_action"},
    "TurnCancelling": dict.fromkeys(("queued", "in_progress", "requires_action"), "cancelling"),
    "TurnCancelled": {"cancelling": "cancelled"},
    "TurnRequeued": {"in_progress": "queued"},
    "TurnCompleted": {"in_progress": "completed"},
    "TurnIncomplete": {"in_progress": "incomplete"},
    "TurnFailed": {"in_progress": "failed"},
    "TurnExpired": dict.fromkeys(("queued", "in_progress", "requires_action"), "expired"),
}


def name_of(case: object) -> str:
    """Name a case by its class or value."""
    return type(case).__name__ if isinstance(case, Event) else str(case)


@pytest.mark.parametrize("event", EVENTS, ids=name_of)
@pytest.mark.parametrize("status", STATUSES, ids=name_of)
def test_an_event_leads_where_the_table_says_and_is_refused_everywhere_else(
    status: Status | None, event: TurnEvent
) -> None:
    reached = MAY[type(event).__name__].get(status)
    if reached is None:
        with pytest.raises(IllegalTransition, match=f"{type(event).__name__} in status {status}"):
            advance(status, event)
    else:
        assert advance(status, event) == reached


def test_the_table_has_every_event() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(TurnEvent))
    assert MAY.keys() == {name_of(event) for event in EVENTS}


def test_nothing_follows_an_end_and_every_end_can_be_reached() -> None:
    ends = {reached for row in MAY.values() for before, reached in row.items() if before != reached}
    assert ends >= ENDED
    assert {MAY[kind.__name__].get(end) for kind in get_args(TurnEnded) for end in ENDED} == {None}


def test_every_status_that_is_no_end_can_be_left_for_one() -> None:
    leaves = {before for kind in get_args(TurnEnded) for before in MAY[kind.__name__]}
    assert leaves == set(get_args(Status)) - ENDED
