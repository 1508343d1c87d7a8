"""One turn of a model, as an async generator of batches of events. Knows no database, no HTTP server, no surface.

The events of a batch happened together: they are journalled in one transaction and told in one go.
"""

from collections.abc import AsyncGenerator
from typing import Any

from app.engine.events import (
    MessageFinished,
    MessageStarted,
    MessageStopped,
    TextAdded,
    TokenUsage,
    TurnCompleted,
    TurnEvent,
    TurnIncomplete,
)
from app.engine.turn import TurnSpec
from app.inference.chunks import Chunk, Usage
from app.inference.client import ChatModel, ChatRequest
from app.inference.failures import ModelBroke
from app.kit.clock import Clock
from app.kit.ids import new_id

Batch = tuple[TurnEvent, ...]

# OpenAI takes 0, "only the likeliest token"; vLLM takes only what is above 0.
LEAST_TOP_P = 1e-6


async def run_turn(
    spec: TurnSpec, name: str, prompt: list[dict[str, Any]], model: ChatModel, clock: Clock
) -> AsyncGenerator[Batch, None]:
    """Ask the model, by the name its server knows, and yield what happens in a started turn, to its end.

    Raises ModelFailure.
    """
    async with model.stream(_request(spec, name, prompt)) as batches:
        # No tools are offered, so the answer is one message: it can be opened while the model reads the prompt.
        yield (MessageStarted(at=clock.now(), step_id=new_id("step"), message_id=new_id("msg")),)
        answer = Answer()
        async for chunks in batches:
            added = tuple(TextAdded(text=text) for chunk in chunks for text in answer.read(chunk))
            if added:
                yield added
    yield answer.ending(clock.now())


class Answer:
    """Adds up the chunks of one model call."""

    __slots__ = ("finish_reason", "usage")

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.usage = TokenUsage()

    def read(self, chunk: Chunk) -> list[str]:
        """Take a chunk in; return the text it adds."""
        if chunk.usage is not None:
            self.usage = usage_of(chunk.usage)
        texts = []
        for choice in chunk.choices:
            if choice.finish_reason is not None:
                self.finish_reason = choice.finish_reason
            text = choice.delta.content or choice.delta.refusal
            if text:
                texts.append(text)
        return texts

    def ending(self, at: int) -> Batch:
        """Return the events that end the turn. Raises ModelBroke when the server never said that it finished."""
        match self.finish_reason:
            case None:
                raise ModelBroke("The model server ended its answer without a finish reason.")
            case "length":
                return (
                    MessageStopped(at=at, reason="max_tokens", usage=self.usage),
                    TurnIncomplete(at=at, reason="max_completion_tokens", usage=self.usage),
                )
            case _:
                return MessageFinished(at=at, usage=self.usage), TurnCompleted(at=at, usage=self.usage)


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
    )
