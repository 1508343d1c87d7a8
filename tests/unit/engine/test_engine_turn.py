"""A turn is what its events made of it: taken in live or read back, the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.events import (
    ArgumentsAdded,
    MessageFinished,
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
    TurnCompleted,
    TurnEvent,
    TurnExpired,
    TurnFailed,
    TurnIncomplete,
    TurnQueued,
    TurnRequeued,
    TurnStarted,
    decode_events,
    encode_events,
)
from app.engine.lifecycle import IllegalTransition
from app.engine.turn import Stamped, Turn, TurnSpec

SPEC = TurnSpec(
    run_id="run_1",
    thread_id="thread_1",
    project_id="proj_default",
    assistant_id="asst_1",
    fence=1,
    expires_at=1_700_000_600,
    model="tiny",
    instructions="",
)
USAGE = TokenUsage(3, 4, 7)
ERROR = RunError("server_error", "broke")
QUEUED = TurnQueued(at=10)
STARTED = TurnStarted(at=11)
MESSAGE = MessageStarted(at=11, step_id="step_1", message_id="msg_1")
OPENING: list[TurnEvent] = [QUEUED, STARTED, MESSAGE]
CALLING: list[TurnEvent] = [
    ToolCallsStarted(at=12, step_id="step_2"),
    ToolCallAdded(index=0, id="call_1", name="look_up"),
    ArgumentsAdded(index=0, text='{"a"'),
    ToolCallAdded(index=1, id="call_2", name="add"),
    ArgumentsAdded(index=0, text=":1}"),
]
OUTPUTS = OutputsSubmitted(at=14, outputs={"call_1": "found", "call_2": "3"})
ENDINGS: list[list[TurnEvent]] = [
    [],
    [MessageFinished(at=12, usage=USAGE), TurnCompleted(at=12, usage=USAGE)],
    [
        MessageStopped(at=12, reason="max_tokens", usage=USAGE),
        TurnIncomplete(at=12, reason="max_completion_tokens", usage=USAGE),
    ],
    [MessageStopped(at=12, reason="run_failed", error=ERROR), TurnFailed(at=12, error=ERROR)],
    [MessageStopped(at=12, reason="run_expired"), TurnExpired(at=12)],
    [TurnCancelling(at=12), MessageStopped(at=12, reason="run_cancelled"), TurnCancelled(at=12)],
    [MessageFinished(at=12, usage=USAGE), *CALLING],
    [MessageFinished(at=12, usage=USAGE), *CALLING, OutputsRequired(at=13, usage=USAGE)],
    [MessageFinished(at=12, usage=USAGE), *CALLING, OutputsRequired(at=13, usage=USAGE), OUTPUTS],
    [
        MessageFinished(at=12, usage=USAGE),
        *CALLING,
        ToolCallsStopped(at=13, reason="run_failed", error=ERROR),
        TurnFailed(at=13, error=ERROR),
    ],
]
LIVES = st.builds(
    lambda attempts, texts, ending: [
        QUEUED,
        *[STARTED, MESSAGE, TextAdded(text="given up"), TurnRequeued(at=11)] * attempts,
        STARTED,
        MESSAGE,
        *(TextAdded(text=text) for text in texts),
        *ending,
    ],
    st.integers(0, 2),
    st.lists(st.text(max_size=8), max_size=8),
    st.sampled_from(ENDINGS),
)


def state_of(turn: Turn) -> tuple[object, ...]:
    return (
        turn.status,
        turn.ended,
        turn.last_seq,
        turn.step_id,
        turn.message_id,
        turn.message_open,
        "".join(turn.text),
        turn.tools_open,
        turn.rounds,
        [call.detail() for call in turn.calls],
        turn.usage,
        turn.at,
    )


def numbered(events: list[TurnEvent]) -> list[Stamped]:
    return [Stamped(number, event) for number, event in enumerate(events, start=1)]


@given(life=LIVES, data=st.data())
def test_a_turn_is_rebuilt_by_its_own_events_from_any_point(life: list[TurnEvent], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(life)))
    lived = Turn(SPEC, [])
    stamped = lived.stamp(life)
    assert stamped == numbered(life)
    rebuilt = Turn(SPEC, stamped[:at])
    assert rebuilt.last_seq == at
    assert rebuilt.stamp(life[at:]) == stamped[at:]
    assert state_of(rebuilt) == state_of(lived)


@given(life=LIVES)
def test_events_come_back_from_disk_as_they_were(life: list[TurnEvent]) -> None:
    assert decode_events(encode_events(life)) == life


def test_a_turn_in_the_middle_of_its_answer_knows_its_message() -> None:
    turn = Turn(SPEC, numbered([*OPENING, TextAdded(text="half an "), TextAdded(text="answer")]))
    assert state_of(turn)[:7] == ("in_progress", False, 5, "step_1", "msg_1", True, "half an answer")
    assert turn.produced


@pytest.mark.parametrize("ending", ENDINGS[1:6], ids=lambda ending: type(ending[-1]).__name__)
def test_an_ended_turn_takes_nothing_more(ending: list[TurnEvent]) -> None:
    turn = Turn(SPEC, numbered([*OPENING, *ending]))
    assert turn.ended
    assert not turn.message_open
    with pytest.raises(IllegalTransition):
        turn.stamp([TextAdded(text="late")])


def test_a_second_message_begins_with_no_text() -> None:
    turn = Turn(SPEC, numbered([*OPENING, TextAdded(text="first"), MessageFinished(at=12, usage=USAGE)]))
    turn.stamp([MessageStarted(at=13, step_id="step_2", message_id="msg_2"), TextAdded(text="second")])
    assert state_of(turn)[3:7] == ("step_2", "msg_2", True, "second")


def test_calls_grow_piece_by_piece_and_take_their_outputs() -> None:
    turn = Turn(SPEC, numbered([QUEUED, STARTED, *CALLING]))
    assert (turn.produced, turn.rests, turn.step_id) == (True, False, "step_2")
    turn.stamp([OutputsRequired(at=13, usage=USAGE)])
    assert (turn.rests, turn.ended, turn.usage) == (True, False, USAGE)
    assert [call.requirement()["function"] for call in turn.calls] == [
        {"name": "look_up", "arguments": '{"a":1}'},
        {"name": "add", "arguments": ""},
    ]
    turn.stamp([OUTPUTS])
    assert [call.detail()["function"]["output"] for call in turn.calls] == ["found", "3"]
    assert (turn.status, turn.rounds, turn.tools_open, turn.produced) == ("queued", 1, False, False)


def test_an_attempt_that_was_given_up_leaves_no_text() -> None:
    turn = Turn(SPEC, numbered([*OPENING, TextAdded(text="given up"), TurnRequeued(at=12)]))
    assert (turn.status, turn.message_open, turn.produced, turn.text) == ("queued", False, False, [])


def test_an_open_message_without_text_has_produced_nothing() -> None:
    assert not Turn(SPEC, numbered(OPENING)).produced


def test_the_time_of_a_turn_is_that_of_its_last_timed_event() -> None:
    assert Turn(SPEC, numbered([*OPENING, TextAdded(text="untimed")])).at == 11
