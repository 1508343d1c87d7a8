"""What vLLM checks of a request that could be read, in its order and words. A check refuses or passes."""

from collections.abc import Sequence
from typing import Any

from ops.standin import tokens
from ops.standin.config import StandinConfig
from ops.standin.refusals import (
    Refused,
    refuse_long_prompt,
    refuse_long_text,
    refuse_max_tokens,
    refuse_model,
    refuse_value,
)
from ops.standin.wire import ChatRequest, Message, SamplingRequest

_MOST_LOGPROBS = 20
_CHOICE_USAGE = 'Correct usage: `{"type": "function", "function": {"name": "my_function"}}`'


def check_model(asked: str | None, config: StandinConfig) -> None:
    """Take the served name or none at all."""
    if asked and asked != config.model:
        raise refuse_model(asked, config.model)


def check_stream_options(request: SamplingRequest) -> None:
    """Take stream options only with a stream; vLLM lets empty ones pass."""
    if request.stream_options and not request.stream:
        message = "Stream options can only be defined when `stream=True`."
        raise refuse_value(message, "stream_options")


def check_chat(request: ChatRequest) -> None:
    """Check what a chat request says about its own form."""
    check_stream_options(request)
    _check_logprobs(request)
    _check_response_format(request)
    _check_tools(request)


def check_messages(messages: Sequence[Message], config: StandinConfig) -> None:
    """Take a conversation of at least one message, of text only."""
    if not messages:
        raise Refused("Cannot apply chat template to an empty conversation. Provide at least one message.")
    for message in messages:
        if isinstance(message.content, list) and any(map(_is_media, message.content)):
            raise Refused(f"{config.model} is not a multimodal model")


def check_length(texts: Sequence[str], config: StandinConfig) -> None:
    """Refuse a text that is over the context whatever its tokens are, before it is cut into them."""
    chars = sum(map(len, texts))
    if chars > config.max_model_len * tokens.CHARS_PER_TOKEN:
        raise refuse_long_text(chars, tokens.CHARS_PER_TOKEN, config.max_model_len)


def check_room(prompt_tokens: int, limit_name: str, limit: int | None, config: StandinConfig) -> None:
    """Check that prompt and answer fit into the context."""
    if limit is not None and limit > config.max_model_len:
        raise refuse_max_tokens(limit_name, limit, config.max_model_len)
    if prompt_tokens >= config.max_model_len:
        raise refuse_long_prompt(prompt_tokens, config.max_model_len)


def check_sampling(request: SamplingRequest, limit: int | None) -> None:
    """Check the sampling parameters."""
    heat, top_p, n = request.temperature, request.top_p, request.choices
    if n < 1:
        raise refuse_value(f"n must be at least 1, got {n}.")
    if heat is not None and heat < 0:
        raise refuse_value(f"temperature must be non-negative, got {heat}.", "temperature", heat)
    if heat is not None and heat > 2:
        raise refuse_value(f"temperature must be in [0, 2], got {heat}.", "temperature", heat)
    if top_p is not None and not 0 < top_p <= 1:
        raise refuse_value(f"top_p must be in (0, 1], got {top_p}.", "top_p", top_p)
    if limit is not None and limit < 1:
        raise refuse_value(f"max_tokens must be at least 1, got {limit}.", "max_tokens", limit)
    if "" in request.stops:
        raise refuse_value("stop cannot contain an empty string.")
    if n > 1 and heat == 0:
        raise refuse_value(f"n must be 1 when using greedy sampling, got {n}.")


def _is_media(part: Any) -> bool:
    return isinstance(part, dict) and "text" not in part and part.get("type") != "refusal"


def _check_logprobs(request: ChatRequest) -> None:
    top = request.top_logprobs or 0
    if top < 0:
        raise refuse_value("`top_logprobs` must be a positive value or -1.", "top_logprobs", top)
    if top and not request.logprobs:
        raise refuse_value("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    if top > _MOST_LOGPROBS:
        message = f"Requested sample logprobs of {top}, which is greater than max allowed: {_MOST_LOGPROBS}"
        raise refuse_value(message, "logprobs", top)


def _check_response_format(request: ChatRequest) -> None:
    asked = request.response_format
    if asked is not None and asked.type == "json_schema" and asked.json_schema is None:
        message = "When response_format type is 'json_schema', the 'json_schema' field must be provided."
        raise refuse_value(message, "response_format")


def _check_tools(request: ChatRequest) -> None:
    choice = request.effective_tool_choice
    if request.tools == []:
        message = "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely."
        raise refuse_value(message, "tools")
    if choice is None or choice == "none":
        return
    if request.tools is None:
        raise refuse_value("When using `tool_choice`, `tools` must be set.", "tool_choice")
    if isinstance(choice, dict):
        _check_named_choice(choice, [tool.function.name for tool in request.tools])
    elif choice not in ("auto", "required"):
        message = (
            f'Invalid value for `tool_choice`: {choice}! Only named tools, "none", "auto" or "required" are supported.'
        )
        raise refuse_value(message, "tool_choice")


def _check_named_choice(choice: dict[str, Any], offered: list[str]) -> None:
    function = choice.get("function")
    if not isinstance(function, dict):
        message = f"Invalid value for `function`: `{function}` in `tool_choice`! {_CHOICE_USAGE}"
        raise refuse_value(message, "tool_choice.function")
    if "name" not in function:
        message = f"Expected field `name` in `function` in `tool_choice`! {_CHOICE_USAGE}"
        raise refuse_value(message, "tool_choice.function.name")
    if function["name"] not in offered:
        message = "The tool specified in `tool_choice` does not match any of the specified `tools`"
        raise refuse_value(message, "tool_choice")
