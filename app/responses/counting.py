"""Counts what a response would be asked, by the model server's own tokenizer."""

from typing import Any

from app.chat.refusals import error_of_failure
from app.engine.context import Sent
from app.engine.executor import Models
from app.engine.prompt import Conversation, Prompter, Room
from app.engine.turn import TurnSpec
from app.errors import InvalidRequest
from app.inference.failures import ModelFailure, PromptTooLong
from app.inference.tokens import estimate_message
from app.kit.wire import to_json
from app.responses.schemas import CountInput, CreateResponse

NO_LIMIT = Room(window=None, answer=None, budget=None)


def _forget(model: str, counts: dict[str, int]) -> None:
    """Keep no counts of messages: where there is no limit none are made."""


class InputCounter:
    """Makes the prompts that turns would be asked with, and has them counted."""

    def __init__(self, models: Models, conversation: Conversation, context_messages: int) -> None:
        self._models = models
        self._prompter = Prompter(conversation, context_messages, _forget)

    async def count(self, spec: TurnSpec) -> int:
        """Return how many tokens a turn's prompt has; an estimate where the model server has no tokenizer.

        Raises InvalidRequest, Unavailable.
        """
        try:
            upstream = await self._models.upstream(spec.model)
            prompt = await self._prompter.prompt(spec, upstream, NO_LIMIT)
            messages = [_text_only(message) for message in prompt.messages]
            counted = await upstream.model.tokenize(upstream.name, messages, spec.tools or None)
        except PromptTooLong as failure:
            raise InvalidRequest(failure.message, param="input", code="context_length_exceeded") from None
        except ModelFailure as failure:
            raise error_of_failure(failure) from None
        return counted.count if counted is not None else _estimated(messages, spec.tools)


def _text_only(message: dict[str, Any]) -> dict[str, Any]:
    return Sent(message).text_only()[0]


def _estimated(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> int:
    texts = [text for message in messages for text in Sent(message).texts()]
    return sum(map(estimate_message, filter(None, texts))) + (estimate_message(to_json(tools)) if tools else 0)


def counted_request(body: CountInput) -> CreateResponse:
    """Return the request whose input is to be counted. A `personality` there is none of here."""
    return CreateResponse(
        model=body.model,
        input=body.input,
        instructions=body.instructions,
        previous_response_id=body.previous_response_id,
        conversation=body.conversation,
        tools=body.tools,
        tool_choice=body.tool_choice,
        parallel_tool_calls=body.parallel_tool_calls,
        reasoning=body.reasoning,
        text=body.text,
        truncation=body.truncation,
        store=False,
    )
