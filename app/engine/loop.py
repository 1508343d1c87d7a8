"""One model call of a turn, as an async generator of batches of events. Knows no database, no HTTP server, no surface.

The events of a batch happened together: they are journalled in one transaction and told in one go.
"""

from collections.abc import AsyncGenerator, Iterator
from typing import Any

from app.engine.events import (
    ArgumentsAdded,
    CallsFinished,
    MessageFinished,
    MessageStarted,
    MessageStopped,
    OutputsRequired,
    ReasoningAdded,
    ReasoningFinished,
    ReasoningStarted,
    TextAdded,
    TokenUsage,
    ToolCallAdded,
    ToolCallsStarted,
    ToolCallsStopped,
    TurnCompleted,
    TurnEvent,
    TurnIncomplete,
)
from app.engine.turn import Surface, TurnSpec
from app.inference.chunks import Chunk, ToolCallPiece, Usage
from app.inference.client import ChatModel, ChatRequest
from app.inference.failures import ModelBroke
from app.kit.clock import Clock
from app.kit.ids import new_id

Batch = tuple[TurnEvent, ...]

# OpenAI takes 0, "only the likeliest token"; vLLM takes only what is above 0.
LEAST_TOP_P = 1e-6
NOTHING_USED = TokenUsage()


async def run_turn(
    spec: TurnSpec,
    name: str,
    prompt: list[dict[str, Any]],
    model: ChatModel,
    clock: Clock,
    *,
    used: TokenUsage = NOTHING_USED,
) -> AsyncGenerator[Batch, None]:
    """Ask the model, by the name its server knows; yield what happens until the turn ends or waits for outputs.

    `used` is what earlier calls of the turn took. Raises ModelFailure.
    """
    answer = Answer(clock, used, spec.surface)
    async with model.stream(_request(spec, name, prompt)) as batches:
        if not spec.tools and spec.surface == "run":
            # The answer can only be a message: it is opened while the model still reads the prompt.
            yield tuple(answer.open_message())
        async for chunks in batches:
            events = tuple(event for chunk in chunks for event in answer.read(chunk))
            for batch in _apart(events):
                yield batch
    yield answer.ending()


def _apart(events: Batch) -> Iterator[Batch]:
    """Keep what ended apart from what follows it, so that each batch is of one kind."""
    start = 0
    for position, event in enumerate(events):
        if isinstance(event, MessageFinished | ReasoningFinished):
            if position > start:
                yield events[start:position]
            yield (event,)
            start = position + 1
    if start < len(events):
        yield events[start:]


class Answer:
    """Turns the chunks of one model call into events."""

    def __init__(self, clock: Clock, used: TokenUsage = NOTHING_USED, surface: Surface = "run") -> None:
        self._clock = clock
        self._surface = surface
        self._used = used
        self._finish_reason: str | None = None
        self._usage = TokenUsage()
        self._in_message = False
        self._reasons = False
        self._calls: dict[int, int] = {}

    def open_message(self) -> Iterator[TurnEvent]:
        """Begin a message."""
        yield from self._end_reasoning()
        self._in_message = True
        yield MessageStarted(at=self._clock.now(), step_id=new_id("step"), message_id=new_id("msg"))

    def read(self, chunk: Chunk) -> Iterator[TurnEvent]:
        """Take a chunk in; yield what it adds."""
        if chunk.usage is not None:
            self._usage = usage_of(chunk.usage)
        for choice in chunk.choices:
            if choice.finish_reason is not None:
                self._finish_reason = choice.finish_reason
            if choice.delta.reasoning and self._surface == "response":
                yield from self._reason(choice.delta.reasoning)
            text = choice.delta.content or choice.delta.refusal
            if text and not self._calls:
                if not self._in_message:
                    yield from self.open_message()
                yield TextAdded(text=text)
            for piece in choice.delta.tool_calls or ():
                yield from self._read_call(piece)

    def _reason(self, text: str) -> Iterator[TurnEvent]:
        """Take what the model reasons in; what it still reasons once it has begun to answer is dropped."""
        if self._in_message or self._calls:
            return
        if not self._reasons:
            self._reasons = True
            yield ReasoningStarted(at=self._clock.now(), item_id=new_id("rs"))
        yield ReasoningAdded(text=text)

    def _end_reasoning(self) -> Iterator[TurnEvent]:
        if self._reasons:
            self._reasons = False
            yield ReasoningFinished(at=self._clock.now())

    def _read_call(self, piece: ToolCallPiece) -> Iterator[TurnEvent]:
        """Take a piece of a call in. Servers number calls as they like; ours go from 0, under ids of our own."""
        function = piece.function
        if piece.index not in self._calls:
            if not self._calls:
                yield from self._begin_calls()
            self._calls[piece.index] = len(self._calls)
            name = function.name if function is not None and function.name else ""
            yield ToolCallAdded(index=self._calls[piece.index], id=new_id("call"), name=name)
        if function is not None and function.arguments:
            yield ArgumentsAdded(index=self._calls[piece.index], text=function.arguments)

    def _begin_calls(self) -> Iterator[TurnEvent]:
        yield from self._end_reasoning()
        if self._in_message:  # the model said something first: that is a message of its own
            self._in_message = False
            yield MessageFinished(at=self._clock.now(), usage=TokenUsage())
        yield ToolCallsStarted(at=self._clock.now(), step_id=new_id("step"))

    def ending(self) -> Batch:
        """Return the events that end the call. Raises ModelBroke when the server never said that it finished."""
        at, total = self._clock.now(), self._used + self._usage
        if self._finish_reason is None:
            raise ModelBroke("The model server ended its answer without a finish reason.")
        if self._calls and self._finish_reason != "length":  # vLLM says "stop" after a named choice
            if self._surface == "response":
                return (CallsFinished(at=at, usage=self._usage), TurnCompleted(at=at, usage=total))
            return (OutputsRequired(at=at, usage=self._usage),)
        if self._calls:
            cut = (ToolCallsStopped(at=at, reason="max_tokens", usage=self._usage),)
            return (*cut, TurnIncomplete(at=at, reason="max_completion_tokens", usage=total))
        opened = () if self._in_message else tuple(self.open_message())
        if self._finish_reason == "length":
            stopped = MessageStopped(at=at, reason="max_tokens", usage=self._usage)
            return (*opened, stopped, TurnIncomplete(at=at, reason="max_completion_tokens", usage=total))
        return (*opened, MessageFinished(at=at, usage=self._usage), TurnCompleted(at=at, usage=total))


def usage_of(usage: Usage) -> TokenUsage:
    """Return the server's counts; `completion_tokens` is null in some servers' answers."""
    return TokenUsage(usage.prompt_tokens, usage.completion_tokens or 0, usage.total_tokens)


def _request(spec: TurnSpec, name: str, prompt: list[dict[str, Any]]) -> ChatRequest:
    return ChatRequest(
        model=name,
        messages=prompt,
        temperature=spec.temperature,
        top_p=None if spec.top_p is None else max(spec.top_p, LEAST_TOP_P),
        max_tokens=spec.max_completion_tokens,
        response_format=spec.response_format,
        reasoning_effort=spec.reasoning_effort,
        tools=spec.tools or None,
        tool_choice=spec.tool_choice if spec.tools else None,
        parallel_tool_calls=False if spec.tools and not spec.parallel_tool_calls else None,
    )
