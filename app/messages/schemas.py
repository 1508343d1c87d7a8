"""Messages on the wire, and from a row to it."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, json
from sqlalchemy import Row

from app.assistants.schemas import decode_metadata
from app.assistants.tools import CodeInterpreterTool
from app.engine.events import MessageCut
from app.kit.wire import Answer, Body, Metadata
from app.messages.content import NewContent, Part, decode_parts

Role = Literal["user", "assistant"]
MessageStatus = Literal["in_progress", "incomplete", "completed"]


class FileSearchTypeOnly(Body, tag_field="type", tag="file_search", kw_only=True, frozen=True):
    """Searches the attached file."""


class NewAttachment(Body, kw_only=True, frozen=True):
    """A file and the tools that may read it."""

    file_id: str
    tools: list[CodeInterpreterTool | FileSearchTypeOnly] | None = None


class Attachment(Answer, kw_only=True, frozen=True):
    """A file and the tools that may read it."""

    file_id: str
    tools: list[CodeInterpreterTool | FileSearchTypeOnly] = []


class CreateMessage(Body, kw_only=True, frozen=True):
    """A new message at the end of a thread."""

    role: Role
    content: NewContent
    attachments: list[NewAttachment] | None = None
    metadata: Metadata | None = None


class NewMessage(Struct, kw_only=True, frozen=True):
    """A new message whose parts are as they are kept already. It has what CreateMessage has."""

    role: Role
    content: list[Part]
    attachments: None = None
    metadata: None = None


class UpdateMessage(Body, kw_only=True, frozen=True):
    """Changes to a message: only its metadata."""

    metadata: Metadata | UnsetType | None = UNSET


class MessageIncompleteDetails(Answer, kw_only=True, frozen=True):
    """Why a message ended early."""

    reason: MessageCut


class Message(Answer, kw_only=True, frozen=True):
    """A message. Its content is empty while it is in progress."""

    id: str
    object: Literal["thread.message"] = "thread.message"
    created_at: int
    thread_id: str
    status: MessageStatus
    incomplete_details: MessageIncompleteDetails | None
    completed_at: int | None
    incomplete_at: int | None
    role: Role
    content: list[Part]
    assistant_id: str | None
    run_id: str | None
    attachments: list[Attachment] | None
    metadata: dict[str, str]


class MessageDeleted(Answer, kw_only=True, frozen=True):
    """The answer to a deletion."""

    id: str
    object: Literal["thread.message.deleted"] = "thread.message.deleted"
    deleted: bool = True


decode_attachments = json.Decoder(list[Attachment]).decode


def message_of(row: Row[Any]) -> Message:
    """Return a message as clients receive it."""
    reason = row.incomplete_reason
    return Message(
        id=row.id,
        created_at=row.created_at,
        thread_id=row.thread_id,
        status=row.status,
        incomplete_details=MessageIncompleteDetails(reason=reason) if reason else None,
        completed_at=row.completed_at,
        incomplete_at=row.incomplete_at,
        role=row.role,
        content=decode_parts(row.content),
        assistant_id=row.assistant_id,
        run_id=row.run_id,
        attachments=decode_attachments(row.attachments) if row.attachments else [],
        metadata=decode_metadata(row.metadata),
    )
