"""What a client may ask of a response beside its input: tools, the form of the answer, and hints. Pure."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from app.assistants.tools import JsonObjectFormat, ReasoningEffort, TextFormat, ToolName
from app.kit.ids import id_pattern
from app.kit.wire import STORABLE, Body

Short = Annotated[str, Meta(max_length=64, pattern=STORABLE)]
Longer = Annotated[str, Meta(max_length=128, pattern=STORABLE)]
Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]


class ResponseFunction(Body, tag_field="type", tag="function", kw_only=True, frozen=True):
    """A function that the client carries out. Other kinds of tools there are none here."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


ResponseTools = Annotated[list[ResponseFunction], Meta(max_length=128)]


class NamedFunction(Body, tag_field="type", tag="function", kw_only=True, frozen=True):
    """Makes the model call this function."""

    name: ToolName


class AllowedTools(Body, tag_field="type", tag="allowed_tools", kw_only=True, frozen=True):
    """Offers the model only some of the tools; `required` makes it call one of them."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedFunction], Meta(min_length=1, max_length=128)]


ResponseToolChoice = Literal["none", "auto", "required"] | NamedFunction | AllowedTools


class SchemaFormat(Body, tag_field="type", tag="json_schema", kw_only=True, frozen=True, omit_defaults=True):
    """JSON that fits a schema."""

    name: ToolName
    schema: dict[str, Any]
    description: str | UnsetType | None = UNSET
    strict: bool | None = None


AnswerFormat = TextFormat | JsonObjectFormat | SchemaFormat


class TextOptions(Body, kw_only=True, frozen=True):
    """The form of the answer. `verbosity` is told again and changes nothing: model servers have no such setting."""

    format: AnswerFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(Body, kw_only=True, frozen=True):
    """How hard to reason. Nothing is summarised here: what a model server tells of the reasoning is told whole."""

    effort: ReasoningEffort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | UnsetType | None = UNSET
    context: Literal["auto", "current_turn", "all_turns"] | UnsetType | None = UNSET
    mode: Literal["standard", "pro"] | UnsetType | None = UNSET


class StreamOptions(Body, kw_only=True, frozen=True):
    """Taken and without effect: nothing is added to streams that would have to be left out."""

    include_obfuscation: bool | None = None


class PromptCacheOptions(Body, kw_only=True, frozen=True):
    """Taken and without effect: a model server caches prompts as it likes."""

    mode: Literal["implicit", "explicit"] | None = None
    ttl: Literal["30m", "12h"] | None = None
    prewarm: bool | None = None


# Only told in the document: a pattern that refused here would not have the original's text, as require_id does.
ConversationId = Annotated[str, Meta(extra_json_schema={"pattern": id_pattern("conv")})]


class ConversationReference(Body, kw_only=True, frozen=True):
    """A conversation by its id."""

    id: ConversationId


ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
CacheRetention = Literal["in_memory", "24h"]
Truncation = Literal["auto", "disabled"]
