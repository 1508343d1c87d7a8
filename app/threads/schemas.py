"""Threads on the wire, and from a row to it."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Row

from app.assistants.schemas import AssistantId, decode_metadata, decode_resources
from app.assistants.tools import NewToolResources, ShownToolResources, ToolResources, shown_resources
from app.kit.wire import Answer, Body, Metadata
from app.messages.schemas import CreateMessage


class CreateThread(Body, kw_only=True, frozen=True):
    """A new thread, with messages if there are any already.

    `assistant_id` is for clients of the first Sovereign Assistant API: it binds the thread to an assistant, whose
    runs may then leave it out, and with which the thread is deleted.
    """

    messages: Annotated[list[CreateMessage], Meta(max_length=100_000)] | None = None
    tool_resources: NewToolResources | None = None
    metadata: Metadata | None = None
    assistant_id: AssistantId | None = None


class UpdateThread(Body, kw_only=True, frozen=True):
    """Changes to a thread: what is not sent stays."""

    tool_resources: ToolResources | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class Thread(Answer, kw_only=True, frozen=True):
    """A thread. `assistant_id` is there only when a legacy client bound it."""

    id: str
    object: Literal["thread"] = "thread"
    created_at: int
    tool_resources: ShownToolResources | None
    metadata: dict[str, str]
    assistant_id: str | UnsetType = UNSET


class ThreadDeleted(Answer, kw_only=True, frozen=True):
    """The answer to a deletion."""

    id: str
    object: Literal["thread.deleted"] = "thread.deleted"
    deleted: bool = True


def thread_of(row: Row[Any]) -> Thread:
    """Return a thread as clients receive it."""
    return Thread(
        id=row.id,
        created_at=row.created_at,
        tool_resources=shown_resources(decode_resources(row.tool_resources)) if row.tool_resources else None,
        metadata=decode_metadata(row.metadata),
        assistant_id=row.assistant_id or UNSET,
    )
