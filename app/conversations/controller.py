"""/v1/conversations."""

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.conversations.schemas import (
    Conversation,
    ConversationDeleted,
    CreateConversation,
    CreateItems,
    UpdateConversation,
)
from app.conversations.service import ConversationService
from app.items.names import thread_of
from app.items.schemas import Item
from app.kit.caller import Caller
from app.kit.pages import Page, PageQuery
from app.web.bodies import WireBody
from app.web.queries import require_id, require_plain


class ConversationsController(Controller):
    """Conversations: threads by another name, whose messages, calls and outputs are items."""

    path = "/v1/conversations"
    tags = ("Conversations",)

    @post("/", dto=WireBody[CreateConversation], status_code=200, operation_id="createConversation")
    async def create(
        self,
        caller: NamedDependency[Caller],
        conversations: NamedDependency[ConversationService],
        data: JSONBody[CreateConversation],
    ) -> Response[Conversation]:
        """Create a conversation, with its first items if there are any."""
        return Response(await conversations.create(caller, data))

    @get("/{conversation_id:str}", operation_id="getConversation")
    async def retrieve(
        self,
        caller: NamedDependency[Caller],
        conversations: NamedDependency[ConversationService],
        conversation_id: FromPath[str],
    ) -> Response[Conversation]:
        """Retrieve a conversation."""
        return Response(await conversations.retrieve(caller, _thread(conversation_id)))

    @post(
        "/{conversation_id:str}", dto=WireBody[UpdateConversation], status_code=200, operation_id="updateConversation"
    )
    async def update(
        self,
        caller: NamedDependency[Caller],
        conversations: NamedDependency[ConversationService],
        conversation_id: FromPath[str],
        data: JSONBody[UpdateConversation],
    ) -> Response[Conversation]:
        """Replace a conversation's metadata."""
        return Response(await conversations.update(caller, _thread(conversation_id), data))

    @post(
        "/{conversation_id:str}/items",
        dto=WireBody[CreateItems],
        status_code=200,
        operation_id="createConversationItems",
    )
    async def add_items(
        self,
        caller: NamedDependency[Caller],
        conversations: NamedDependency[ConversationService],
        conversation_id: FromPath[str],
        data: JSONBody[CreateItems],
    ) -> Response[Page[Item]]:
        """Add items at the end of a conversation. Refused while a response or a run holds it."""
        return Response(await conversations.add_items(caller, _thread(conversation_id), data.items))

    @get("/{conversation_id:str}/items", operation_id="listConversationItems")
    async def items(
        self,
        caller: NamedDependency[Caller],
        conversations: NamedDependency[ConversationService],
        forward_page: NamedDependency[PageQuery],
        conversation_id: FromPath[str],
    ) -> Response[Page[Item]]:
        """List a conversation's items, newest first."""
        return Response(await conversations.items(caller, _thread(conversation_id), forward_page))

    @get("/{conversation_id:str}/items/{item_id:str}", operation_id="getConversationItem")
    async def item(
        self,
        caller: NamedDependency[Caller],
        conversations: NamedDependency[ConversationService],
        conversation_id: FromPath[str],
        item_id: FromPath[str],
    ) -> Response[Item]:
        """Retrieve an item of a conversation."""
        thread_id = _thread(conversation_id)
        return Response(await conversations.item(caller, thread_id, require_plain("item_id", item_id)))

    @delete("/{conversation_id:str}/items/{item_id:str}", status_code=200, operation_id="deleteConversationItem")
    async def delete_item(
        self,
        caller: NamedDependency[Caller],
        conversations: NamedDependency[ConversationService],
        conversation_id: FromPath[str],
        item_id: FromPath[str],
    ) -> Response[Conversation]:
        """Delete an item of a conversation. A call that a model made goes with its output."""
        thread_id = _thread(conversation_id)
        return Response(await conversations.delete_item(caller, thread_id, require_plain("item_id", item_id)))

    @delete("/{conversation_id:str}", status_code=200, operation_id="deleteConversation")
    async def delete(
        self,
        caller: NamedDependency[Caller],
        conversations: NamedDependency[ConversationService],
        conversation_id: FromPath[str],
    ) -> Response[ConversationDeleted]:
        """Delete a conversation with all that is in it. A response or run that is active in it is stopped."""
        return Response(await conversations.delete(caller, _thread(conversation_id)))


def _thread(conversation_id: str) -> str:
    """Return the id of a conversation's thread. Raises InvalidRequest for what can be no conversation's id."""
    return thread_of(require_id("conversation_id", conversation_id, "conv"))
