"""Conversations on the wire, and from a thread's row to one."""

from typing import Annotated, Any, Literal

from msgspec import Meta
from sqlalchemy import Row

from app.assistants.schemas import decode_metadata
from app.items.names import conversation_of
from app.items.schemas import SentItem
from app.kit.wire import Answer, Body, Metadata

NewItems = Annotated[list[SentItem], Meta(max_length=20)]


class CreateConversation(Body, kw_only=True, frozen=True):
    """A new conversation, with items if there are any already."""

    items: NewItems | None = None
    metadata: Metadata | None = None


class UpdateConversation(Body, kw_only=True, frozen=True):
    """Changes to a conversation: only its metadata. Null clears it."""

    metadata: Metadata | None


class CreateItems(Body, kw_only=True, frozen=True):
    """New items at the end of a conversation."""

    items: NewItems


class Conversation(Answer, kw_only=True, frozen=True):
    """A conversation."""

    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: dict[str, str]


class ConversationDeleted(Answer, kw_only=True, frozen=True):
    """The answer to a deletion."""

    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: bool = True


def conversation_as_shown(row: Row[Any]) -> Conversation:
    """Return a thread as the conversation that it is."""
    return Conversation(id=conversation_of(row.id), created_at=row.created_at, metadata=decode_metadata(row.metadata))
