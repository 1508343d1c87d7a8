"""What the executor decides: when the model is asked again, what it is asked, and how a turn ends early."""

from typing import Any

import msgspec
import pytest

from app.engine.events import (
    MessageStarted,
    MessageStopped,
    OutputsRequired,
    OutputsSubmitted,
    RunError,
    TextAdded,
    TokenUsage,
    ToolCallAdded,
    ToolCallsStarted,
    ToolCallsStopped,
    TurnCancelled,
    TurnCancelling,
    TurnEvent,
    TurnExpired,
    TurnFailed,
    TurnQueued,
    TurnStarted,
)
from app.engine.policy import EarlyEnd, closing, pause_before_retry, poll_after_ms, used_since, what_to_ask
from app.engine.turn import Turn, TurnSpec
from app.inference.failures import (
    ModelBroke,
    ModelBusy,
    ModelFailure,
    ModelRefused,
    ModelTimedOut,
    ModelUnknown,
    ModelUnreachable,
    PromptTooLong,
)

SPEC = TurnSpec(
    run_id="run_1",
    thread_id="thread_1",
    project_id="proj_default",
    assistant_id="asst_1",
    fence=1,
    expires_at=600,
    model="tiny",
    instructions="",
    tools=[{"type": "function", "function": {"name": "look_up"}}],
    tool_choice="required",
)
ERROR = RunError("server_error", "broke")
QUEUED = TurnQueued(at=1)
STARTED: list[TurnEvent] = [QUEUED, TurnStarted(at=2)]
IN_MESSAGE = [*STARTED, MessageStarted(at=2, step_id="step_1", message_id="msg_1"), TextAdded(text="half")]
IN_CALLS = [*STARTED, ToolCallsStarted(at=2, step_id="step_1"), ToolCallAdded(index=0, id="call_1", name="look_up")]
WAITING = [*IN_CALLS, OutputsRequired(at=3, usage=TokenUsage(5, 40, 45))]
SUBMITTED = [*WAITING, OutputsSubmitted(at=4, outputs={"call_1": "found"}), TurnStarted(at=5)]


def turn_after(events: list[TurnEvent], **changes: Any) -> Turn:
    turn = Turn(msgspec.structs.replace(SPEC, **changes), [])
    turn.stamp(events)
    return turn


@pytest.mark.parametrize(
    ("failure", "pauses"),
    [
        (ModelBusy("x"), [0.25, 0.5, 1.0, None]),
        (ModelBroke("x"), [0.25, 0.5, 1.0, None]),
        (ModelTimedOut("x"), [None]),
        (ModelRefused("x"), [None]),
        (ModelUnknown("x"), [None]),
        (PromptTooLong("x"), [None]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_tried_again_as_often_as_it_helps(failure: ModelFailure, pauses: list[float | None]) -> None:
    assert [pause_before_retry(failure, attempt) for attempt in range(1, len(pauses) + 1)] == pauses


def test_a_server_that_is_away_is_waited_for_without_end_at_a_bounded_pace() -> None:
    pauses = [pause_before_retry(ModelUnreachable("x"), attempt) for attempt in range(1, 2000)]
    assert pauses[:5] == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert set(pauses[4:]) == {4.0}


FAILED, EXPIRED, CANCELLED = TurnFailed(at=9, error=ERROR), TurnExpired(at=9), TurnCancelled(at=9)
CLOSINGS: dict[str, tuple[list[TurnEvent], EarlyEnd, list[TurnEvent]]] = {
    "queued, failed": ([QUEUED], FAILED, [TurnStarted(at=9)]),
    "queued, expired": ([QUEUED], EXPIRED, []),
    "queued, cancelled": ([QUEUED], CANCELLED, [TurnCancelling(at=9)]),
    "started, failed": (STARTED, FAILED, []),
    "in a message, failed": (IN_MESSAGE, FAILED, [MessageStopped(at=9, reason="run_failed", error=ERROR)]),
    "in a message, expired": (IN_MESSAGE, EXPIRED, [MessageStopped(at=9, reason="run_expired")]),
    "in a message, cancelled": (
        IN_MESSAGE,
        CANCELLED,
        [TurnCancelling(at=9), MessageStopped(at=9, reason="run_cancelled")],
    ),
    "in calls, failed": (IN_CALLS, FAILED, [ToolCallsStopped(at=9, reason="run_failed", error=ERROR)]),
    "waiting, expired": (WAITING, EXPIRED, [ToolCallsStopped(at=9, reason="run_expired")]),
    "cancelling": ([*STARTED, TurnCancelling(at=8)], CANCELLED, []),
}
REASONS = {TurnFailed: "run_failed", TurnExpired: "run_expired", TurnCancelled: "run_cancelled"}


@pytest.mark.parametrize("case", CLOSINGS)
def test_a_turn_ends_early_from_wherever_it_stands(case: str) -> None:
    lived, end, before = CLOSINGS[case]
    turn = turn_after(lived)
    events = closing(turn, REASONS[type(end)], end)  # type: ignore[arg-type]  # one of the literals
    assert events == (*before, end)
    turn.stamp(events)
    assert turn.ended
    assert not (turn.message_open or turn.tools_open)


def test_a_first_call_is_asked_what_the_run_says() -> None:
    assert what_to_ask(turn_after(STARTED, max_completion_tokens=300), 2048).max_completion_tokens == 300
    assert what_to_ask(turn_after(STARTED), 2048) == SPEC


def test_a_later_call_is_asked_what_is_left_of_the_budget_and_forces_no_tool() -> None:
    asked = what_to_ask(turn_after(SUBMITTED, max_completion_tokens=300), 2048)
    assert (asked.max_completion_tokens, asked.tool_choice) == (260, "auto")


def test_a_later_call_still_calls_nothing_when_the_run_wants_none() -> None:
    assert what_to_ask(turn_after(SUBMITTED, tool_choice="none"), None).tool_choice == "none"


@pytest.mark.parametrize(("window", "asked"), [(None, 300), (300, 300), (299, None)])
def test_a_budget_over_the_window_is_left_to_the_window(window: int | None, asked: int | None) -> None:
    turn = turn_after(STARTED, max_completion_tokens=300)
    assert what_to_ask(turn, window).max_completion_tokens == asked


def test_a_budget_that_is_spent_is_told_as_such() -> None:
    assert what_to_ask(turn_after(SUBMITTED, max_completion_tokens=40), 2048).max_completion_tokens == 0


@pytest.mark.parametrize(
    ("turns", "after_ms"), [(0, 500), (1, 500), (8, 500), (9, 1000), (16, 1000), (17, 1500), (72, 4500), (500, 5000)]
)
def test_pollers_wait_longer_the_more_turns_wait_for_each_slot(turns: int, after_ms: int) -> None:
    assert poll_after_ms(turns, 8) == after_ms


def test_what_was_said_in_a_run_that_was_lost_meanwhile_counts() -> None:
    assert used_since(turn_after(IN_MESSAGE), TokenUsage()) == TokenUsage(0, 1)
    assert used_since(turn_after(WAITING), TokenUsage()) == TokenUsage(5, 40)
