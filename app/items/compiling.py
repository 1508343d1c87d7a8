"""From items as clients send them to what is kept of them: messages as threads have them, and all else. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET, Struct

from app.errors import InvalidRequest
from app.items.compaction import summary_in
from app.items.schemas import (
    InputCompaction,
    InputFunctionCall,
    InputFunctionOutput,
    InputImage,
    InputItem,
    InputMessage,
    InputOutputText,
    InputPart,
    InputReasoning,
    InputReference,
    InputRefusal,
    InputText,
    Item,
    ItemStatus,
    ReasoningText,
    ShownFunctionCall,
    ShownFunctionOutput,
    ShownImage,
    ShownMessage,
    ShownPart,
    ShownReasoning,
    ShownText,
    SummaryText,
)
from app.kit.wire import to_json
from app.messages.content import ImageUrl, ImageUrlPart, Part, RefusalPart, TextPart, TextValue
from app.messages.schemas import NewMessage
from app.web.refusals import refusal

ItemType = Literal["message", "function_call", "function_call_output", "reasoning"]
PREFIXES: dict[ItemType, str] = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
}
"""What the ids of items begin with."""

KINDS = tuple(kind.__struct_config__.tag for kind in get_args(InputItem))
"""Every type of item that may be sent."""


class NewRowItem(Struct, frozen=True, kw_only=True):
    """An item that an Assistants thread has no name for. `body` is as clients see it, without its id and type."""

    type: ItemType
    call_id: str | None = None
    body: str


class Reference(Struct, frozen=True):
    """An item that is here already, and in the input by its id only. `at` is where in the request."""

    id: str
    at: str


NewItem = NewMessage | NewRowItem | Reference
Kept = NewMessage | NewRowItem


def compiled(given: str | Sequence[Mapping[str, Any]], param: str) -> list[NewItem]:
    """Return what a client sent as `param`, in its order. Text is what a user says. Raises InvalidRequest."""
    if isinstance(given, str):
        return [NewMessage(role="user", content=[text_part(given)])]
    return [_new(item, f"{param}[{at}]") for at, item in enumerate(decoded(given, param))]


def decoded(given: Sequence[Mapping[str, Any]], param: str) -> list[InputItem]:
    """Return items as Structs. Raises InvalidRequest, with the place of the first fault in the request."""
    named = [{**item, "type": _type_of(item, f"{param}[{at}]")} for at, item in enumerate(given)]
    try:
        return msgspec.convert(named, list[InputItem])
    except msgspec.ValidationError as error:
        what, found, where = str(error).rpartition("`$[")
        raise refusal(f"{what}`$.{param}[{where}" if found else str(error), {param: named}) from None


def _type_of(item: Mapping[str, Any], at: str) -> Any:
    kind = item.get("type")
    if isinstance(kind, str) and kind not in KINDS:
        supported = ", ".join(f"'{known}'" for known in KINDS)
        text = f"Invalid value: '{kind}'. This server has items of these types: {supported}."
        raise InvalidRequest(text, param=f"{at}.type", code="invalid_value")
    if kind is not None:
        return kind
    if "role" in item:
        return "message"
    if "id" in item and item.keys() <= {"id", "type"}:
        return "item_reference"
    param = f"{at}.type"
    raise InvalidRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def _new(item: InputItem, at: str) -> NewItem:
    match item:
        case InputMessage():
            return _new_message(item, at)
        case InputReference():
            return Reference(item.id, at)
        case InputFunctionCall():
            called = ShownFunctionCall(id="", call_id=item.call_id, name=item.name, arguments=item.arguments)
            return row_item(called, item.status)
        case InputFunctionOutput():
            output = item.output if isinstance(item.output, str) else _shown_parts(item.output, f"{at}.output")
            return row_item(ShownFunctionOutput(id="", call_id=item.call_id, output=output), item.status)
        case InputReasoning():
            return row_item(_reasoning(item), item.status)
        case InputCompaction():
            summary: list[ShownPart] = [
                ShownText(text=f"Summary of the conversation so far:\n{summary_in(item.encrypted_content, at)}")
            ]
            return row_item(ShownMessage(id="", status="completed", role="system", content=summary))


def _new_message(item: InputMessage, at: str) -> Kept:
    content = [InputText(text=item.content)] if isinstance(item.content, str) else item.content
    if item.role in ("user", "assistant"):
        kept = [_kept_part(part, f"{at}.content[{index}]") for index, part in enumerate(content)]
        return NewMessage(role=item.role, content=kept)
    shown: list[ShownPart] = [*_shown_parts(content, f"{at}.content")]
    return row_item(ShownMessage(id="", status="completed", role=item.role, content=shown), item.status)


def _reasoning(item: InputReasoning) -> ShownReasoning:
    return ShownReasoning(
        id="",
        summary=[SummaryText(text=part.text) for part in item.summary or ()],
        content=UNSET if item.content is None else [ReasoningText(text=part.text) for part in item.content],
        encrypted_content=UNSET if item.encrypted_content is None else item.encrypted_content,
    )


def row_item(item: Item, status: ItemStatus | None = None) -> NewRowItem:
    """Return an item as its row keeps it; `status` goes before its own."""
    body = msgspec.to_builtins(item) | ({"status": status} if status else {})
    del body["id"]
    return NewRowItem(type=body.pop("type"), call_id=body.get("call_id"), body=to_json(body))


def text_part(text: str) -> TextPart:
    """Return text as a message keeps it."""
    return TextPart(text=TextValue(value=text))


def _kept_part(part: InputPart, at: str) -> Part:
    match part:
        case InputText() | InputOutputText():
            return text_part(part.text)
        case InputRefusal():
            return RefusalPart(refusal=part.refusal)
        case InputImage():
            # Assistants have no word for the original's size; the highest that they have is nearest.
            detail = "high" if part.detail == "original" else part.detail or "auto"
            return ImageUrlPart(image_url=ImageUrl(url=_address(part, at), detail=detail))


def _shown_parts(parts: Sequence[InputPart], at: str) -> list[ShownText | ShownImage]:
    return [_shown_part(part, f"{at}[{index}]") for index, part in enumerate(parts)]


def _shown_part(part: InputPart, at: str) -> ShownText | ShownImage:
    match part:
        case InputText() | InputOutputText():
            return ShownText(text=part.text)
        case InputRefusal():
            return ShownText(text=part.refusal)
        case InputImage():
            return ShownImage(image_url=_address(part, at), detail=part.detail or "auto")


def _address(part: InputImage, at: str) -> str:
    if part.image_url is not None and part.file_id is None:
        return part.image_url
    text = f"Invalid '{at}': an input_image needs its picture in image_url; this server has no pictures by file_id."
    raise InvalidRequest(text, param=f"{at}.{'image_url' if part.file_id is None else 'file_id'}", code="invalid_value")
