"""Responses on the wire."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from app.assistants.schemas import Instructions, Model
from app.engine.events import TokenUsage
from app.inference.failures import RunErrorCode
from app.items.schemas import Item, ItemText, SentItem, ShownCompaction
from app.kit.ids import id_pattern
from app.kit.wire import MAX_INTEGER, STORABLE, Answer, Body, Metadata, Temperature, TopP
from app.responses.asking import (
    CacheRetention,
    ConversationId,
    ConversationReference,
    Include,
    Longer,
    PromptCacheOptions,
    ReasoningOptions,
    ResponseFunction,
    ResponseToolChoice,
    ResponseTools,
    ServiceTier,
    Short,
    StreamOptions,
    TextOptions,
    Truncation,
)

ResponseInput = ItemText | list[SentItem]
# Only told in the document: a pattern that refused here would not have the original's text, as require_id does.
ResponseId = Annotated[str, Meta(extra_json_schema={"pattern": id_pattern("resp")})]
ResponseStatus = Literal["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"]


class Contextual(Body, kw_only=True, frozen=True):
    """What all three ways to send a context have in common: what is said now, and after what."""

    HINTS: ClassVar[Mapping[str, str]] = {"tools[].type": "This server has tools of this type: 'function'."}

    model: Model | None = None
    input: ResponseInput | None = None
    instructions: Instructions | None = None
    previous_response_id: ResponseId | None = None


class CountInput(Contextual, kw_only=True, frozen=True):
    """What a response would be asked, to be counted."""

    conversation: ConversationId | ConversationReference | None = None
    tools: ResponseTools | None = None
    tool_choice: ResponseToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    truncation: Truncation | None = None
    personality: Annotated[str, Meta(max_length=64)] | None = None


class CompactInput(Contextual, kw_only=True, frozen=True):
    """A context to be made shorter."""

    prompt_cache_key: Short | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    prompt_cache_retention: CacheRetention | None = None
    service_tier: ServiceTier | None = None


class CreateResponse(Contextual, kw_only=True, frozen=True):
    """A new response. Without a model it uses the one that is served.

    `temperature` and `top_p` are 1 unless sent. `store` is true unless sent, and then the response is kept.
    """

    conversation: ConversationId | ConversationReference | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: ResponseTools | None = None
    tool_choice: ResponseToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=16, le=MAX_INTEGER)] | None = None
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    include: list[Include] | None = None
    metadata: Metadata | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    truncation: Truncation | None = None
    prompt: dict[str, Any] | None = None
    prompt_cache_key: Short | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    prompt_cache_retention: CacheRetention | None = None
    safety_identifier: Longer | None = None
    service_tier: ServiceTier | None = None
    user: Annotated[str, Meta(max_length=512, pattern=STORABLE)] | None = None


class ResponseError(Answer, kw_only=True, frozen=True):
    """Why a response failed."""

    code: RunErrorCode
    message: str


class ResponseIncompleteDetails(Answer, kw_only=True, frozen=True):
    """Why a response ended early."""

    reason: Literal["max_output_tokens", "content_filter"]


class ResponseConversation(Answer, kw_only=True, frozen=True):
    """The conversation that a response belongs to."""

    id: str


class InputTokensDetails(Answer, kw_only=True, frozen=True):
    """What of the input a cache knew: model servers do not tell."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(Answer, kw_only=True, frozen=True):
    """What of the output was reasoning: model servers do not tell."""

    reasoning_tokens: int = 0


class ResponseUsage(Answer, kw_only=True, frozen=True):
    """Tokens as the model server reported them."""

    input_tokens: int
    input_tokens_details: InputTokensDetails = InputTokensDetails()
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int


class Asked(Struct, frozen=True, kw_only=True):
    """What of a request a response's run does not hold, and clients are told again."""

    store: bool
    tools: list[ResponseFunction]
    tool_choice: ResponseToolChoice
    text: TextOptions
    reasoning: ReasoningOptions
    truncation: Truncation
    service_tier: ServiceTier
    max_tool_calls: int | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: CacheRetention | None = None
    safety_identifier: str | None = None
    user: str | UnsetType = UNSET


class Response(Answer, kw_only=True, frozen=True):
    """A response. `usage` is null until it ends; `completed_at` is for one that completed."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: ResponseStatus
    background: bool
    completed_at: int | None
    error: ResponseError | None
    incomplete_details: ResponseIncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[Item]
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: ResponseConversation | None
    prompt_cache_key: str | None
    prompt_cache_retention: CacheRetention | None
    reasoning: ReasoningOptions
    safety_identifier: str | None
    service_tier: ServiceTier
    store: bool
    temperature: float | None
    text: TextOptions
    tool_choice: ResponseToolChoice
    tools: list[ResponseFunction]
    top_logprobs: int
    top_p: float | None
    truncation: Truncation
    usage: ResponseUsage | None
    user: str | UnsetType = UNSET
    metadata: dict[str, str]


class ResponseDeleted(Answer, kw_only=True, frozen=True):
    """The answer to a deletion."""

    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


class InputTokens(Answer, kw_only=True, frozen=True):
    """How many tokens an input takes."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int


class Compaction(Answer, kw_only=True, frozen=True):
    """A context made shorter: `output` is what to send instead of it."""

    id: str
    object: Literal["response.compaction"] = "response.compaction"
    created_at: int
    output: list[ShownCompaction]
    usage: ResponseUsage


def usage_of(usage: TokenUsage) -> ResponseUsage:
    """Return what a turn used as a response tells it."""
    return ResponseUsage(
        input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=usage.total_tokens
    )
