"""From rows to items as clients see them. Pure.

A message is one item, a row of items too; a step is as many as it has calls, and then as many as it has outputs.
"""

from typing import Any

import msgspec
from msgspec import json
from sqlalchemy import Row

from app.items.compiling import Kept, row_item
from app.items.schemas import (
    Item,
    ShownFunctionCall,
    ShownFunctionOutput,
    ShownImage,
    ShownMessage,
    ShownOutputText,
    ShownPart,
    ShownRefusal,
    ShownText,
)
from app.kit.ids import twin
from app.kit.wire import to_json
from app.messages.calls import KeptCall, decode_details
from app.messages.content import ImageFilePart, ImageUrlPart, Part, RefusalPart, TextPart, decode_parts
from app.messages.schemas import NewMessage, Role

CALL, OUTPUT = "fc", "fco"
"""What the ids of a step's calls begin with, and those of their outputs."""


def message_item(row: Row[Any]) -> ShownMessage:
    """Return a message as an item."""
    content = [shown_part(part, row.role) for part in decode_parts(row.content)]
    return ShownMessage(id=row.id, status=row.status, role=row.role, content=content)


def shown_part(part: Part, role: Role) -> ShownPart:
    """Return a part of a message as this surface has it; what an assistant says is output."""
    match part:
        case TextPart() if role == "assistant":
            return ShownOutputText(text=part.text.value)
        case TextPart():
            return ShownText(text=part.text.value)
        case RefusalPart():
            return ShownRefusal(refusal=part.refusal)
        case ImageUrlPart():
            return ShownImage(image_url=part.image_url.url, detail=part.image_url.detail)
        case ImageFilePart():
            return ShownImage(file_id=part.image_file.file_id, detail=part.image_file.detail)


def item_of(row: Row[Any]) -> Item:
    """Return a row of items as an item."""
    item: Item = msgspec.convert(json.decode(row.body) | {"id": row.id, "type": row.type}, Item)
    return item


def step_items(details: str, *, cut: bool = False) -> list[Item]:
    """Return a step's calls, then their outputs. `cut`: the model's answer ended early, with the last of the calls."""
    calls = decode_details(details).tool_calls
    made: list[Item] = [called_item(call, cut=cut and call is calls[-1]) for call in calls]
    return made + [output_item(call) for call in calls if call.function.output is not None]


def called_item(call: KeptCall, *, cut: bool = False) -> ShownFunctionCall:
    """Return a call of a step as an item. Its own id is the one by which its output names it."""
    return ShownFunctionCall(
        id=twin(call.id, CALL),
        call_id=call.id,
        name=call.function.name,
        arguments=call.function.arguments,
        status="incomplete" if cut and call.function.output is None else "completed",
    )


def output_item(call: KeptCall) -> ShownFunctionOutput:
    """Return the output of a step's call as an item."""
    return ShownFunctionOutput(id=twin(call.id, OUTPUT), call_id=call.id, output=call.function.output or "")


def step_without(details: str, item_id: str) -> str | None:
    """Return a step's details without a call and its output, or without an output; None if that is not in them."""
    if item_id not in [item.id for item in step_items(details)]:
        return None
    kept, call_id = json.decode(details), twin(item_id, "call")
    if item_id.startswith(f"{CALL}_"):
        kept["tool_calls"] = [call for call in kept["tool_calls"] if call["id"] != call_id]
    for call in kept["tool_calls"]:
        if call["id"] == call_id:
            call["function"]["output"] = None
    return to_json(kept)


def copy_of(row: Row[Any], item: Item) -> Kept:
    """Return what would keep an item once more, given the row that it is of."""
    if isinstance(item, ShownMessage) and item.role in ("user", "assistant"):
        return NewMessage(role=item.role, content=decode_parts(row.content))
    return row_item(item)
