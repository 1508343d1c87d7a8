"""What the engine tells becomes the original's stream: every family, numbered, and the same again for who resumes."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

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
    TokenUsage,
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
from app.engine.turn import NUMBERS_LEFT, Stamped
from app.responses.asking import ReasoningOptions, TextOptions
from app.responses.rendering import ResponseStream
from app.responses.schemas import Response
from tests.conformance.response_order import ResponseOrder
from tests.conformance.sse import parse

USAGE = TokenUsage(7, 2, 9)
MESSAGE, REASONING, CALL = "msg_000000000000000000000001", "rs_000000000000000000000001", "call_1"
BEGIN: list[TurnEvent] = [TurnQueued(at=1), TurnStarted(at=2)]
SAID: list[TurnEvent] = [
    MessageStarted(at=3, step_id="step_1", message_id=MESSAGE),
    TextAdded(text="Hello"),
    TextAdded(text=' "world"\n'),
]
WHOLE: list[TurnEvent] = [*SAID, MessageFinished(at=4, usage=USAGE), TurnCompleted(at=4, usage=USAGE)]

Told = list[tuple[str, Any]]


def accepted(*, background: bool = False) -> Response:
    return Response(
        id="resp_000000000000000000000001",
        created_at=1,
        status="queued" if background else "in_progress",
        background=background,
        completed_at=None,
        error=None,
        incomplete_details=None,
        instructions=None,
        max_output_tokens=None,
        max_tool_calls=None,
        model="llama",
        output=[],
        parallel_tool_calls=True,
        previous_response_id=None,
        conversation=None,
        prompt_cache_key=None,
        prompt_cache_retention=None,
        reasoning=ReasoningOptions(),
        safety_identifier=None,
        service_tier="default",
        store=True,
        temperature=1.0,
        text=TextOptions(),
        tool_choice="auto",
        tools=[],
        top_logprobs=0,
        top_p=1.0,
        truncation="disabled",
        usage=None,
        metadata={},
    )


def stamped(events: Sequence[TurnEvent], first: int = 1) -> list[Stamped]:
    return [Stamped(number, event) for number, event in enumerate(events, start=first)]


def rendered(events: Sequence[Stamped], *, background: bool = False, after: int = -1) -> bytes:
    return ResponseStream(accepted(background=background), after=after).feed(events)


def told(frames: bytes) -> Told:
    """Return the events of frames; what the name says, the data says, too."""
    found = [(str(event.event), json.loads(event.data)) for event in parse(frames)]
    assert all(name == data["type"] for name, data in found)
    return found


def stream(*events: TurnEvent, background: bool = False) -> Told:
    """Render what follows the beginning, held to the order of every stream."""
    found = told(rendered(stamped([*BEGIN, *events]), background=background))
    order = ResponseOrder()
    for name, data in found:
        order.feed(name, data)
    order.finish()
    return found


def names(events: Told) -> list[str]:
    return [name.removeprefix("response.") for name, _ in events]


def test_a_plain_answer() -> None:
    events = stream(*WHOLE)
    assert names(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert [data["sequence_number"] for _, data in events] == list(range(10))
    place = {"item_id": MESSAGE, "output_index": 0, "content_index": 0}
    assert events[4][1] == {
        **place,
        "type": "response.output_text.delta",
        "delta": "Hello",
        "logprobs": [],
        "sequence_number": 4,
    }
    assert events[5][1]["delta"] == ' "world"\n'
    assert events[6][1] == {
        **place,
        "type": "response.output_text.done",
        "text": 'Hello "world"\n',
        "logprobs": [],
        "sequence_number": 6,
    }
    ended = events[-1][1]["response"]
    assert (ended["status"], ended["completed_at"], ended["output"]) == ("completed", 4, [events[-2][1]["item"]])
    assert ended["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 9,
    }


def test_nothing_is_said_of_the_end_before_it() -> None:
    for name, data in stream(*WHOLE)[:-1]:
        if "response" in data:
            response = data["response"]
            assert (response["status"], response["output"], response["usage"]) == ("in_progress", [], None), name


def test_only_a_response_of_the_background_is_queued() -> None:
    statuses = [(name, data["response"]["status"]) for name, data in stream(*WHOLE, background=True)[:3]]
    assert statuses == [
        ("response.created", "queued"),
        ("response.queued", "queued"),
        ("response.in_progress", "in_progress"),
    ]


def test_reasoning_is_an_item_of_its_own() -> None:
    reasoning = [ReasoningStarted(at=3, item_id=REASONING), ReasoningAdded(text="Hm"), ReasoningAdded(text="m.")]
    events = stream(*reasoning, ReasoningFinished(at=3), *WHOLE)
    assert names(events)[2:8] == [
        *("output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done"),
    ]
    assert events[6][1]["text"] == "Hmm."
    item = {"id": REASONING, "type": "reasoning", "summary": [], "status": "completed"}
    item |= {"content": [{"type": "reasoning_text", "text": "Hmm."}]}
    assert events[8][1]["item"] == item
    assert [one["type"] for one in events[-1][1]["response"]["output"]] == ["reasoning", "message"]
    assert [data["output_index"] for name, data in events if name == "response.output_item.added"] == [0, 1]


def test_calls_may_grow_side_by_side() -> None:
    calls = [
        ToolCallsStarted(at=3, step_id="step_1"),
        ToolCallAdded(index=0, id="call_1", name="get_price"),
        ArgumentsAdded(index=0, text='{"a"'),
        ToolCallAdded(index=1, id="call_2", name="get_risk"),
        ArgumentsAdded(index=1, text="{}"),
        ArgumentsAdded(index=0, text=":1}"),
        CallsFinished(at=4, usage=USAGE),
    ]
    events = stream(*calls, TurnCompleted(at=4, usage=USAGE))
    assert names(events)[2:7] == [
        *("output_item.added", "function_call_arguments.delta", "output_item.added"),
        *("function_call_arguments.delta", "function_call_arguments.delta"),
    ]
    done = [data for name, data in events if name == "response.function_call_arguments.done"]
    assert [(data["item_id"], data["name"], data["arguments"]) for data in done] == [
        ("fc_1", "get_price", '{"a":1}'),
        ("fc_2", "get_risk", "{}"),
    ]
    assert events[-1][1]["response"]["output"][0] == {
        "id": "fc_1",
        "type": "function_call",
        "call_id": "call_1",
        "name": "get_price",
        "arguments": '{"a":1}',
        "status": "completed",
    }


ENDS: list[tuple[TurnEvent, str, str, Any]] = [
    (TurnFailed(at=4, error=RunError("rate_limit_exceeded", "Full."), usage=USAGE), "failed", "failed", None),
    (TurnExpired(at=4, usage=USAGE), "failed", "failed", None),
    (
        TurnIncomplete(at=4, reason="max_completion_tokens", usage=USAGE),
        "incomplete",
        "incomplete",
        "max_output_tokens",
    ),
    (TurnCancelled(at=4, usage=USAGE), "incomplete", "cancelled", None),
]


@pytest.mark.parametrize(("end", "event", "status", "reason"), ENDS, ids=[type(end).__name__ for end, *_ in ENDS])
def test_an_answer_that_ends_early(end: TurnEvent, event: str, status: str, reason: str | None) -> None:
    before = [TurnCancelling(at=4)] if isinstance(end, TurnCancelled) else []
    events = stream(*SAID, *before, MessageStopped(at=4, reason="run_failed"), end)
    name, data = events[-1]
    response = data["response"]
    assert (name, response["status"], response["completed_at"]) == (f"response.{event}", status, None)
    assert (response["incomplete_details"] or {}).get("reason") == reason
    assert (response["error"] is not None) == (status == "failed")
    assert [item["status"] for item in response["output"]] == ["incomplete"]


def test_the_error_is_told_with_its_code() -> None:
    failed = stream(TurnFailed(at=4, error=RunError("rate_limit_exceeded", "Full."), usage=USAGE))[-1][1]["response"]
    assert failed["error"] == {"code": "rate_limit_exceeded", "message": "Full."}


def test_a_message_without_a_word_is_closed_and_not_kept() -> None:
    begun = MessageStarted(at=3, step_id="step_1", message_id=MESSAGE)
    events = stream(
        begun,
        MessageStopped(at=4, reason="max_tokens"),
        TurnIncomplete(at=4, reason="max_completion_tokens", usage=USAGE),
    )
    assert names(events)[-2:] == ["output_item.done", "incomplete"]
    assert events[-1][1]["response"]["output"] == []


@pytest.mark.parametrize(("reason", "kept"), [("max_tokens", ["completed", "incomplete"]), ("run_cancelled", [])])
def test_calls_that_were_cut_short(reason: Any, kept: list[str]) -> None:
    calls = [
        ToolCallsStarted(at=3, step_id="step_1"),
        ToolCallAdded(index=0, id="call_1", name="get_price"),
        ToolCallAdded(index=1, id="call_2", name="get_price"),
        ToolCallsStopped(at=4, reason=reason),
    ]
    events = stream(*calls, TurnIncomplete(at=4, reason="max_completion_tokens", usage=USAGE))
    assert [item["status"] for item in events[-1][1]["response"]["output"]] == kept


def test_an_attempt_that_was_given_up_counts_for_nothing() -> None:
    again = [TurnStarted(at=6), MessageStarted(at=6, step_id="step_2", message_id="msg_2"), TextAdded(text="Hi")]
    ending = [MessageFinished(at=7, usage=USAGE), TurnCompleted(at=7, usage=USAGE)]
    events = stream(*SAID, TurnRequeued(at=5), *again, *ending)
    done = [data for name, data in events if name == "response.output_item.done"]
    assert [(data["item"]["status"], data["output_index"]) for data in done] == [("incomplete", 0), ("completed", 1)]
    assert [item["id"] for item in events[-1][1]["response"]["output"]] == ["msg_2"]
    assert names(events).count("in_progress") == 1


def test_one_of_the_background_that_is_given_up_is_queued_again() -> None:
    events = stream(*SAID, TurnRequeued(at=5), TurnStarted(at=6), *WHOLE, background=True)
    assert [name for name in names(events) if name in ("queued", "in_progress")] == ["queued", "in_progress"] * 2


def test_who_resumes_is_told_the_same_frames_under_the_same_numbers() -> None:
    events = stamped([*BEGIN, *WHOLE])
    whole = rendered(events)
    frames = [frame + b"\n\n" for frame in whole.split(b"\n\n")[:-1]]
    for seen in range(-1, 10):
        assert rendered(events, after=seen) == b"".join(frames[seen + 1 :])
    split = ResponseStream(accepted())
    assert b"".join(split.feed([event]) for event in events) == whole


def test_numbers_go_on_far_behind_what_a_killed_server_may_have_told() -> None:
    begun = stamped([*BEGIN, *SAID])
    taken_up = stamped([TurnRequeued(at=5), TurnStarted(at=6), *WHOLE], first=begun[-1].seq + NUMBERS_LEFT + 1)
    events = told(rendered([*begun, *taken_up]))
    numbers = [data["sequence_number"] for _, data in events]
    assert numbers[:6] == list(range(6))
    assert numbers[6:] == list(range(NUMBERS_LEFT + 6, NUMBERS_LEFT + len(numbers)))
