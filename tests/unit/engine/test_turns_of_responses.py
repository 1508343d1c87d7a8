"""Turns of responses: what the model reasons is told, its calls are handed over, calls and outputs go together."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from app.engine.context import Answered, Called, PastCall, PastCalls, PastMessage, Told, paired
from app.engine.events import (
    ArgumentsAdded,
    CallsFinished,
    MessageFinished,
    MessageStarted,
    ReasoningAdded,
    ReasoningFinished,
    ReasoningStarted,
    RunError,
    TextAdded,
    TokenUsage,
    ToolCallAdded,
    ToolCallsStarted,
    TurnCompleted,
    TurnEvent,
    TurnFailed,
    TurnQueued,
    TurnStarted,
)
from app.engine.loop import run_turn
from app.engine.policy import closing, used_since
from app.engine.turn import Turn, TurnSpec
from app.inference.chunks import Choice, Chunk, Delta, FunctionPiece, ToolCallPiece
from tests.fakes.clock import SetClock
from tests.fakes.model import Line, ScriptedModel, answer, finish, text, usage

pytestmark = pytest.mark.anyio

LOOK_UP = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
RESPONSE = TurnSpec(
    run_id="run_1",
    thread_id="thread_1",
    project_id="proj_default",
    assistant_id=None,
    fence=1,
    expires_at=1_700_000_600,
    model="gpt-4o",
    instructions="",
    surface="response",
)
RUN = replace(RESPONSE, surface="run", assistant_id="asst_1")
AT = SetClock().now()


def thought(said: str) -> Chunk:
    return Chunk(choices=[Choice(delta=Delta(reasoning=said))])


def call(arguments: str) -> Chunk:
    piece = ToolCallPiece(index=0, id="chatcmpl-tool-1", function=FunctionPiece(name="look_up", arguments=arguments))
    return Chunk(choices=[Choice(delta=Delta(tool_calls=[piece]))])


async def batches_of(script: Sequence[Line], spec: TurnSpec = RESPONSE) -> list[tuple[TurnEvent, ...]]:
    asked = [{"role": "user", "content": "hello"}]
    return [batch async for batch in run_turn(spec, "tiny", asked, ScriptedModel(script), SetClock())]


def kinds(batches: Sequence[tuple[TurnEvent, ...]]) -> list[type]:
    return [type(event) for batch in batches for event in batch]


async def test_what_the_model_reasons_comes_before_the_message_and_ends_where_that_begins() -> None:
    batches = await batches_of([thought("Let me"), thought(" see."), *answer("Gold")])
    assert kinds(batches) == [
        *(ReasoningStarted, ReasoningAdded, ReasoningAdded, ReasoningFinished),
        *(MessageStarted, TextAdded, MessageFinished, TurnCompleted),
    ]
    # What ends is on disk before what follows it is told.
    assert all(batch == (batch[0],) for batch in batches if isinstance(batch[0], ReasoningFinished))


async def test_a_run_does_not_tell_what_the_model_reasons() -> None:
    assert ReasoningAdded not in kinds(await batches_of([thought("Hm."), *answer("Gold")], RUN))


async def test_what_is_reasoned_after_the_answer_has_begun_is_no_second_item() -> None:
    batches = await batches_of([text("Gold"), thought("Hm."), finish("stop"), usage()])
    assert ReasoningStarted not in kinds(batches)


async def test_calls_are_handed_over_and_the_turn_is_complete() -> None:
    spec = replace(RESPONSE, tools=[LOOK_UP])
    batches = await batches_of([thought("Hm."), call("{}"), finish("tool_calls"), usage()], spec)
    assert kinds(batches) == [
        *(ReasoningStarted, ReasoningAdded, ReasoningFinished),
        *(ToolCallsStarted, ToolCallAdded, ArgumentsAdded, CallsFinished, TurnCompleted),
    ]
    assert kinds(batches[-1:]) == [CallsFinished, TurnCompleted]


async def test_a_turn_that_ends_while_it_reasons_keeps_and_counts_what_it_reasoned() -> None:
    begun: list[TurnEvent] = [
        TurnQueued(at=AT),
        TurnStarted(at=AT),
        ReasoningStarted(at=AT, item_id="rs_1"),
        ReasoningAdded(text="x" * 40),
    ]
    turn = Turn(RESPONSE, [])
    turn.stamp(begun)
    assert turn.produced
    failed = TurnFailed(at=AT, error=RunError("server_error", "It broke."))
    events = closing(turn, "run_failed", failed)
    assert [type(event) for event in events] == [ReasoningFinished, TurnFailed]
    turn.stamp(events)
    assert used_since(turn, TokenUsage()).completion_tokens == 10


SAID = PastMessage("user", "What is gold at?")
A, B = Called("call_a", "look_up", "{}"), Called("call_b", "look_up", '{"of":"silver"}')


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([SAID, A, Answered("call_a", "7")], [SAID, PastCalls([PastCall("call_a", "look_up", "{}", "7")])]),
        ([SAID, A], [SAID]),
        ([SAID, Answered("call_a", "7")], [SAID]),
        (
            [A, B, Answered("call_b", "2"), Answered("call_a", "1")],
            [
                PastCalls(
                    [PastCall("call_a", "look_up", "{}", "1"), PastCall("call_b", "look_up", '{"of":"silver"}', "2")]
                )
            ],
        ),
        (
            [A, Answered("call_a", "1"), SAID, B, Answered("call_b", "2")],
            [
                PastCalls([PastCall("call_a", "look_up", "{}", "1")]),
                SAID,
                PastCalls([PastCall("call_b", "look_up", '{"of":"silver"}', "2")]),
            ],
        ),
        ([A, B, Answered("call_b", "2")], [PastCalls([PastCall("call_b", "look_up", '{"of":"silver"}', "2")])]),
    ],
    ids=["a pair", "no output yet", "no call", "two at once", "two rounds", "one of two"],
)
def test_calls_and_outputs_are_put_together(told: list[Told], expected: list[Told]) -> None:
    assert paired(told) == expected
