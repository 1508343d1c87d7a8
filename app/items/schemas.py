"""Items on the wire: as clients send them, also those that they were sent before, and as they are shown."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field, json

from app.assistants.tools import ToolName
from app.kit.wire import STORABLE, Answer, Body

MessageRole = Literal["user", "assistant", "system", "developer"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
Phase = Literal["commentary", "final_answer"]
ItemDetail = Literal["low", "high", "auto", "original"]
ItemText = Annotated[str, Meta(max_length=10_485_760)]
ItemId = Annotated[str, Meta(max_length=256)]
CallId = Annotated[str, Meta(min_length=1, max_length=64, pattern=STORABLE)]


class InputText(Body, tag_field="type", tag="input_text", kw_only=True, frozen=True):
    """Text."""

    text: ItemText
    prompt_cache_breakpoint: Any = None


class InputImage(Body, tag_field="type", tag="input_image", kw_only=True, frozen=True):
    """A picture by address. One that is in the address, `data:`, is shown to the model; no other is ever fetched."""

    image_url: Annotated[str, Meta(min_length=1, max_length=20_971_520)] | None = None
    file_id: str | None = None
    detail: ItemDetail | None = None
    prompt_cache_breakpoint: Any = None


class InputOutputText(Body, tag_field="type", tag="output_text", kw_only=True, frozen=True):
    """What a model said, sent back. `parsed` is what a client read from it."""

    text: ItemText
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None
    parsed: Any = None


class InputRefusal(Body, tag_field="type", tag="refusal", kw_only=True, frozen=True):
    """What a model said instead of an answer, sent back."""

    refusal: ItemText


InputPart = InputText | InputImage | InputOutputText | InputRefusal


class InputMessage(Body, tag_field="type", tag="message", kw_only=True, frozen=True):
    """A message. `type` may be left out."""

    role: MessageRole
    content: ItemText | list[InputPart]
    id: ItemId | None = None
    status: ItemStatus | None = None
    phase: Phase | None = None


class InputFunctionCall(Body, tag_field="type", tag="function_call", kw_only=True, frozen=True):
    """A function call that a model made, here or elsewhere. `parsed_arguments` is what a client read from it."""

    call_id: CallId
    name: ToolName
    arguments: ItemText
    id: ItemId | None = None
    status: ItemStatus | None = None
    caller: Any = None
    namespace: str | None = None
    created_by: str | None = None
    parsed_arguments: Any = None
    in_background: bool | None = field(default=None, name="async")
    async_: bool | None = None  # as the SDK's model_dump() names the former


class InputFunctionOutput(Body, tag_field="type", tag="function_call_output", kw_only=True, frozen=True):
    """What came of a function call."""

    call_id: CallId
    output: ItemText | list[InputText | InputImage]
    id: ItemId | None = None
    status: ItemStatus | None = None
    name: Annotated[str, Meta(max_length=128)] | None = None
    caller: Any = None
    namespace: str | None = None
    created_by: str | None = None


class SummaryText(Answer, tag_field="type", tag="summary_text", kw_only=True, frozen=True):
    """A summary of what a model reasoned."""

    text: ItemText


class ReasoningText(Answer, tag_field="type", tag="reasoning_text", kw_only=True, frozen=True):
    """What a model reasoned."""

    text: ItemText


class InputSummaryText(Body, kw_only=True, frozen=True):
    """A summary of what a model reasoned, sent back."""

    type: Literal["summary_text"]
    text: ItemText


class InputReasoningText(Body, kw_only=True, frozen=True):
    """What a model reasoned, sent back."""

    type: Literal["reasoning_text"]
    text: ItemText


class InputReasoning(Body, tag_field="type", tag="reasoning", kw_only=True, frozen=True):
    """What a model reasoned, sent back. It is kept, and no model is shown it."""

    summary: list[InputSummaryText] | None = None
    content: list[InputReasoningText] | None = None
    encrypted_content: ItemText | None = None
    id: ItemId | None = None
    status: ItemStatus | None = None


class InputCompaction(Body, tag_field="type", tag="compaction", kw_only=True, frozen=True):
    """What /v1/responses/compact made of a context, sent back: the model is told its summary as a system message."""

    encrypted_content: Annotated[str, Meta(max_length=20_971_520)]
    id: ItemId | None = None
    created_by: str | None = None


class InputReference(Body, tag_field="type", tag="item_reference", kw_only=True, frozen=True):
    """An item of the project that is here already. `type` may be left out."""

    id: Annotated[str, Meta(max_length=256, pattern=STORABLE)]


InputItem = InputMessage | InputFunctionCall | InputFunctionOutput | InputReasoning | InputCompaction | InputReference


class ShownText(Answer, tag_field="type", tag="input_text", kw_only=True, frozen=True):
    """Text that a client wrote."""

    text: str


class ShownImage(Answer, tag_field="type", tag="input_image", kw_only=True, frozen=True):
    """A picture, by address or by file id."""

    image_url: str | None = None
    file_id: str | None = None
    detail: ItemDetail = "auto"


class ShownOutputText(Answer, tag_field="type", tag="output_text", kw_only=True, frozen=True):
    """Text that a model wrote. There are no annotations as long as there are no files to cite."""

    annotations: list[dict[str, Any]] = []
    logprobs: list[dict[str, Any]] = []
    text: str


class ShownRefusal(Answer, tag_field="type", tag="refusal", kw_only=True, frozen=True):
    """What a model said instead of an answer."""

    refusal: str


ShownPart = ShownText | ShownImage | ShownOutputText | ShownRefusal


class ShownMessage(Answer, tag_field="type", tag="message", kw_only=True, frozen=True):
    """A message."""

    id: str
    status: ItemStatus
    role: MessageRole
    content: list[ShownPart]


class ShownFunctionCall(Answer, tag_field="type", tag="function_call", kw_only=True, frozen=True):
    """A function call; the arguments are the text that the model wrote."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus = "completed"


class ShownFunctionOutput(Answer, tag_field="type", tag="function_call_output", kw_only=True, frozen=True):
    """What came of a function call."""

    id: str
    call_id: str
    output: str | list[ShownText | ShownImage]
    status: ItemStatus = "completed"


class ShownReasoning(Answer, tag_field="type", tag="reasoning", kw_only=True, frozen=True):
    """What a model reasoned."""

    id: str
    summary: list[SummaryText] = []
    content: list[ReasoningText] | UnsetType = UNSET
    encrypted_content: str | UnsetType = UNSET
    status: ItemStatus = "completed"


class ShownCompaction(Answer, tag_field="type", tag="compaction", kw_only=True, frozen=True):
    """What stands for a context. To be sent back as it is."""

    id: str
    encrypted_content: str


Item = ShownMessage | ShownFunctionCall | ShownFunctionOutput | ShownReasoning


def _described() -> dict[str, Any]:
    """Return the schema of an item as a whole, to stand where the items are decoded one by one."""
    schema = json.schema(InputItem)
    definitions = schema["$defs"]
    for name in ("InputMessage", "InputReference"):
        definitions[name]["required"].remove("type")
        definitions[name]["properties"]["type"]["enum"].append(None)

    def inlined(part: Any) -> Any:
        if isinstance(part, list):
            return [inlined(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return inlined(definitions[part["$ref"].rpartition("/")[2]])
        return {key: inlined(value) for key, value in part.items() if key not in ("discriminator", "$defs")}

    described: dict[str, Any] = inlined(schema)
    return described


# Decoded by compiling.py: no union of msgspec has a member whose tag may be left out.
SentItem = Annotated[dict[str, Any], Meta(extra_json_schema=_described())]
