"""One turn with a scripted model: which events, in which order, for every way in which an answer ends."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from app.engine.events import (
    ArgumentsAdded,
    MessageFinished,
    MessageStarted,
    MessageStopped,
    OutputsRequired,
    TextAdded,
    TokenUsage,
    ToolCallAdded,
    ToolCallsStarted,
    ToolCallsStopped,
    TurnCompleted,
    TurnEvent,
    TurnIncomplete,
)
from app.engine.loop import run_turn
from app.engine.turn import TurnSpec
from app.inference.chunks import Choice, Chunk, Delta, FunctionPiece, ToolCallPiece
from app.inference.failures import ModelBroke, ModelBusy
from tests.fakes.clock import SetClock
from tests.fakes.model import Line, ScriptedModel, answer, finish, text, usage

pytestmark = pytest.mark.anyio

SPEC = TurnSpec(
    run_id="run_1",
    thread_id="thread_1",
    project_id="proj_default",
    assistant_id="asst_1",
    fence=1,
    expires_at=1_700_000_600,
    model="gpt-4o",
    instructions="Be brief.",
)
LOOK_UP = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
WITH_TOOLS = msgspec.structs.replace(SPEC, tools=[LOOK_UP], tool_choice="auto")
PROMPT = [{"role": "user", "content": "hello"}]
COUNTED = TokenUsage(prompt_tokens=7, completion_tokens=2, total_tokens=9)
USED = TokenUsage(prompt_tokens=100, completion_tokens=10, total_tokens=110)
NOTHING_COUNTED = TokenUsage(0, 0, 0)
AT = SetClock().now()


def piece(index: int = 0, name: str | None = None, arguments: str | None = None) -> Chunk:
    """Make a chunk with a piece of a call, as vLLM sends it: the name first, then arguments."""
    function = FunctionPiece(name=name, arguments=arguments)
    made = ToolCallPiece(index=index, id=name and "chatcmpl-tool-1", function=function)
    return Chunk(choices=[Choice(delta=Delta(tool_calls=[made]))])


async def batches_of(
    script: Sequence[Line], spec: TurnSpec = SPEC, used: TokenUsage = NOTHING_COUNTED
) -> list[tuple[TurnEvent, ...]]:
    model = ScriptedModel(script)
    return [batch async for batch in run_turn(spec, "tiny", PROMPT, model, SetClock(), used=used)]


async def events_of(script: Sequence[Line], spec: TurnSpec = SPEC) -> list[TurnEvent]:
    return [event for batch in await batches_of(script, spec) for event in batch]


def kinds(events: Sequence[TurnEvent]) -> list[type]:
    return [type(event) for event in events]


def told(events: Sequence[TurnEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextAdded))


async def test_a_plain_answer_is_opened_told_and_ended() -> None:
    opening, *texts, ending = await batches_of(answer("hello", " there"))
    assert kinds(opening) == [MessageStarted]
    assert texts == [(TextAdded(text="hello"),), (TextAdded(text=" there"),)]
    assert ending == (MessageFinished(at=AT, usage=COUNTED), TurnCompleted(at=AT, usage=COUNTED))


async def test_the_message_and_its_step_get_ids_of_their_own() -> None:
    first, second = [(await events_of(answer("x")))[0] for _ in range(2)]
    assert isinstance(first, MessageStarted)
    assert isinstance(second, MessageStarted)
    assert (first.step_id[:5], first.message_id[:4]) == ("step_", "msg_")
    assert {first.step_id, first.message_id}.isdisjoint({second.step_id, second.message_id})


async def test_chunks_that_came_together_are_told_together() -> None:
    _, *texts, _ = await batches_of([text("a", "b", "c"), finish(), usage()])
    assert texts == [(TextAdded(text="a"), TextAdded(text="b"), TextAdded(text="c"))]


async def test_an_answer_at_its_limit_is_kept_and_incomplete() -> None:
    *_, stopped, ended = await events_of([text("half"), finish("length"), usage()])
    assert stopped == MessageStopped(at=AT, reason="max_tokens", usage=COUNTED)
    assert ended == TurnIncomplete(at=AT, reason="max_completion_tokens", usage=COUNTED)


async def test_an_empty_answer_completes() -> None:
    events = await events_of([text(""), finish(), usage()])
    assert kinds(events) == [MessageStarted, MessageFinished, TurnCompleted]


async def test_text_that_rides_on_the_last_chunk_is_told() -> None:
    last = Chunk(choices=[Choice(delta=Delta(content=" end"), finish_reason="length")])
    events = await events_of([text("the"), last, usage()])
    assert told(events) == "the end"
    assert kinds(events)[-2:] == [MessageStopped, TurnIncomplete]


async def test_a_refusal_is_told_as_the_answer() -> None:
    pieces: list[Line] = [Chunk(choices=[Choice(delta=Delta(refusal=piece))]) for piece in ("I can", "not.")]
    events = await events_of([*pieces, finish(), usage()])
    assert told(events) == "I cannot."
    assert isinstance(events[-1], TurnCompleted)


async def test_a_server_that_counts_nothing_leaves_the_usage_at_zero() -> None:
    *_, ended = await events_of([text("hello"), finish()])
    assert ended == TurnCompleted(at=AT, usage=NOTHING_COUNTED)


async def test_a_null_count_of_the_answer_is_zero() -> None:
    *_, ended = await events_of([text("hello"), finish(), usage(completion_tokens=None)])
    assert isinstance(ended, TurnCompleted)
    assert ended.usage == TokenUsage(prompt_tokens=7, completion_tokens=0, total_tokens=7)


async def test_the_last_of_continuous_counts_holds() -> None:
    counting = [Chunk(choices=[Choice(delta=Delta(content="x"))], usage=usage(7, n).usage) for n in (1, 2)]
    *_, ended = await events_of([*counting, finish()])
    assert isinstance(ended, TurnCompleted)
    assert ended.usage == COUNTED


ODDITIES: dict[str, list[Line]] = {
    "thoughts and no answer": [Chunk(choices=[Choice(delta=Delta(reasoning="hm"))]), finish()],
    "no choices": [Chunk(), finish()],
    "a finish of calls without any": [text(""), finish("tool_calls")],
    "a reason nobody knows": [text(""), finish("repetition")],
}


@pytest.mark.parametrize("spec", [SPEC, WITH_TOOLS], ids=["without tools", "with tools"])
@pytest.mark.parametrize("script", ODDITIES.values(), ids=ODDITIES)
async def test_an_oddity_completes_with_a_message_that_says_nothing(script: list[Line], spec: TurnSpec) -> None:
    assert kinds(await events_of(script, spec)) == [MessageStarted, MessageFinished, TurnCompleted]


@pytest.mark.parametrize("spec", [SPEC, WITH_TOOLS], ids=["that nobody offered", "that was offered"])
@pytest.mark.parametrize("reason", ["tool_calls", "stop"], ids=["called", "named choice"])
async def test_a_call_waits_for_its_output_whatever_the_finish_reason(reason: str, spec: TurnSpec) -> None:
    script = [piece(name="look_up"), piece(arguments='{"a":'), piece(arguments="1}"), finish(reason), usage()]
    events = await events_of(script, spec)
    opened = [MessageStarted, MessageFinished] if spec is SPEC else []
    called = [ToolCallsStarted, ToolCallAdded, ArgumentsAdded, ArgumentsAdded, OutputsRequired]
    assert kinds(events) == opened + called
    assert "".join(event.text for event in events if isinstance(event, ArgumentsAdded)) == '{"a":1}'
    assert events[-1] == OutputsRequired(at=AT, usage=COUNTED)


async def test_what_is_said_before_a_call_is_a_message_of_its_own() -> None:
    batches = await batches_of([text("Let me look."), piece(name="look_up"), finish("tool_calls"), usage()], WITH_TOOLS)
    assert [kinds(batch) for batch in batches] == [
        [MessageStarted, TextAdded],
        [MessageFinished],
        [ToolCallsStarted, ToolCallAdded],
        [OutputsRequired],
    ]


async def test_what_is_said_and_called_in_one_read_is_told_in_batches_of_one_kind() -> None:
    together = [text("Let me look."), piece(name="look_up"), piece(arguments="{}")]
    batches = await batches_of([[chunk for chunk in together if isinstance(chunk, Chunk)], finish()], WITH_TOOLS)
    assert [kinds(batch) for batch in batches] == [
        [MessageStarted, TextAdded],
        [MessageFinished],
        [ToolCallsStarted, ToolCallAdded, ArgumentsAdded],
        [OutputsRequired],
    ]


async def test_calls_are_numbered_from_0_under_ids_of_our_own_however_the_server_numbers_them() -> None:
    script = [piece(3, "add"), piece(7, "look_up"), piece(3, arguments="{}"), finish("tool_calls")]
    events = await events_of(script, WITH_TOOLS)
    made = [event for event in events if isinstance(event, ToolCallAdded)]
    assert [(call.index, call.name, call.id[:5]) for call in made] == [(0, "add", "call_"), (1, "look_up", "call_")]
    assert [event.index for event in events if isinstance(event, ArgumentsAdded)] == [0]


async def test_a_call_that_was_cut_at_the_limit_ends_the_turn() -> None:
    *_, stopped, ended = await events_of([piece(name="look_up"), finish("length"), usage()], WITH_TOOLS)
    assert stopped == ToolCallsStopped(at=AT, reason="max_tokens", usage=COUNTED)
    assert ended == TurnIncomplete(at=AT, reason="max_completion_tokens", usage=COUNTED)


async def test_text_after_a_call_is_passed_over() -> None:
    events = await events_of([piece(name="look_up"), text("done"), finish("tool_calls")], WITH_TOOLS)
    assert kinds(events) == [ToolCallsStarted, ToolCallAdded, OutputsRequired]


async def test_a_turn_counts_its_earlier_calls_and_its_message_only_itself() -> None:
    *_, (finished, completed) = await batches_of(answer("a", "b"), WITH_TOOLS, used=USED)
    assert finished == MessageFinished(at=AT, usage=COUNTED)
    assert completed == TurnCompleted(at=AT, usage=TokenUsage(107, 12, 119))


@pytest.mark.parametrize("script", [[], [text("half")], [text("half"), usage()]], ids=["nothing", "text", "usage"])
async def test_an_answer_without_a_finish_reason_is_broken(script: list[Line]) -> None:
    with pytest.raises(ModelBroke):
        await events_of(script)


async def test_nothing_is_told_of_a_request_that_the_model_did_not_accept() -> None:
    model = ScriptedModel(answer("x"), refusals=[ModelBusy("full")])
    turn = run_turn(SPEC, "tiny", PROMPT, model, SetClock())
    with pytest.raises(ModelBusy):
        await anext(turn)


async def test_what_was_told_before_a_failure_stays_told() -> None:
    turn = run_turn(SPEC, "tiny", PROMPT, ScriptedModel([text("half"), ModelBroke("cut")]), SetClock())
    assert kinds(await anext(turn)) == [MessageStarted]
    assert await anext(turn) == (TextAdded(text="half"),)
    with pytest.raises(ModelBroke):
        await anext(turn)


async def test_the_stream_is_closed_before_the_end_is_told() -> None:
    model = ScriptedModel(answer("x"))
    turn = run_turn(SPEC, "tiny", PROMPT, model, SetClock())
    open_at = [(model.open, type(batch[-1])) async for batch in turn]
    assert open_at == [(1, MessageStarted), (1, TextAdded), (0, TurnCompleted)]


async def test_a_turn_that_is_left_closes_its_stream() -> None:
    model = ScriptedModel(answer("x", "y"))
    turn = run_turn(SPEC, "tiny", PROMPT, model, SetClock())
    await anext(turn)
    assert model.open == 1
    await turn.aclose()
    assert model.open == 0


async def test_the_model_is_asked_what_the_run_says() -> None:
    chosen: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
    }
    model = ScriptedModel(answer("x"))
    spec = msgspec.structs.replace(SPEC, max_completion_tokens=300, **chosen)
    [_ async for _ in run_turn(spec, "tiny", PROMPT, model, SetClock())]
    [request] = model.requests
    assert (request.model, request.messages, request.max_tokens) == ("tiny", PROMPT, 300)
    assert {name: getattr(request, name) for name in chosen} == chosen
    assert (request.tools, request.tool_choice, request.parallel_tool_calls) == (None, None, None)


async def test_the_model_is_offered_the_runs_tools() -> None:
    model = ScriptedModel(answer("x"))
    spec = msgspec.structs.replace(WITH_TOOLS, tool_choice="required", parallel_tool_calls=False)
    [_ async for _ in run_turn(spec, "tiny", PROMPT, model, SetClock())]
    [request] = model.requests
    assert (request.tools, request.tool_choice, request.parallel_tool_calls) == ([LOOK_UP], "required", False)


async def test_the_least_top_p_is_one_that_vllm_takes() -> None:
    model = ScriptedModel(answer("x"))
    [_ async for _ in run_turn(msgspec.structs.replace(SPEC, top_p=0.0), "tiny", PROMPT, model, SetClock())]
    asked = model.requests[0].top_p
    assert asked is not None
    assert 0 < asked < 0.001
