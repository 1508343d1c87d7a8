"""Assistants on the wire, and from a row to it."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, json
from sqlalchemy import Row

from app.assistants.tools import (
    NewToolResources,
    ReasoningEffort,
    ResponseFormat,
    ShownToolResources,
    Tool,
    ToolResources,
    shown_resources,
)
from app.kit.ids import id_pattern
from app.kit.wire import STORABLE, Answer, Body, Metadata, Temperature, TopP

Model = Annotated[str, Meta(min_length=1, max_length=256, pattern=STORABLE)]
Name = Annotated[str, Meta(max_length=256, pattern=STORABLE)]
Description = Annotated[str, Meta(max_length=512, pattern=STORABLE)]
Instructions = Annotated[str, Meta(max_length=256_000, pattern=STORABLE)]
Tools = Annotated[list[Tool], Meta(max_length=128)]
# Only told in the document: a pattern that refused here would not have the original's text, as require_id does.
AssistantId = Annotated[str, Meta(extra_json_schema={"pattern": id_pattern("asst")})]


class CreateAssistant(Body, kw_only=True, frozen=True):
    """A new assistant. Without a model it uses the one that is served.

    `temperature` and `top_p` are 1 unless sent; null leaves them to the model server.
    """

    model: Model | None = None
    name: Name | None = None
    description: Description | None = None
    instructions: Instructions | None = None
    tools: Tools | None = None
    tool_resources: NewToolResources | None = None
    metadata: Metadata | None = None
    temperature: Temperature | UnsetType | None = UNSET
    top_p: TopP | UnsetType | None = UNSET
    response_format: ResponseFormat | None = None
    reasoning_effort: ReasoningEffort | None = None


class UpdateAssistant(Body, kw_only=True, frozen=True):
    """Changes to an assistant: what is not sent stays."""

    model: Model | UnsetType = UNSET
    name: Name | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    instructions: Instructions | UnsetType | None = UNSET
    tools: Tools | UnsetType | None = UNSET
    tool_resources: ToolResources | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    temperature: Temperature | UnsetType | None = UNSET
    top_p: TopP | UnsetType | None = UNSET
    response_format: ResponseFormat | UnsetType | None = UNSET
    reasoning_effort: ReasoningEffort | UnsetType | None = UNSET


class Assistant(Answer, kw_only=True, frozen=True):
    """An assistant."""

    id: str
    object: Literal["assistant"] = "assistant"
    created_at: int
    name: str | None
    description: str | None
    model: str
    instructions: str | None
    tools: list[Tool]
    tool_resources: ShownToolResources | None
    metadata: dict[str, str]
    temperature: float | None
    top_p: float | None
    response_format: ResponseFormat
    reasoning_effort: ReasoningEffort | None


class AssistantDeleted(Answer, kw_only=True, frozen=True):
    """The answer to a deletion."""

    id: str
    object: Literal["assistant.deleted"] = "assistant.deleted"
    deleted: bool = True


decode_tools = json.Decoder(list[Tool]).decode
decode_resources = json.Decoder(NewToolResources).decode
decode_format = json.Decoder(ResponseFormat).decode
decode_metadata = json.Decoder(dict[str, str]).decode


def assistant_of(row: Row[Any]) -> Assistant:
    """Return an assistant as clients receive it."""
    return Assistant(
        id=row.id,
        created_at=row.created_at,
        name=row.name,
        description=row.description,
        model=row.model,
        instructions=row.instructions,
        tools=decode_tools(row.tools),
        tool_resources=shown_resources(decode_resources(row.tool_resources)) if row.tool_resources else None,
        metadata=decode_metadata(row.metadata),
        temperature=row.temperature,
        top_p=row.top_p,
        response_format=decode_format(row.response_format) if row.response_format else "auto",
        reasoning_effort=row.reasoning_effort,
    )
