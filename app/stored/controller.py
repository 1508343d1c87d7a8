"""/v1/chat/completions, as far as they are stored."""

from typing import Any

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from app.kit.caller import Caller
from app.kit.pages import Page, PageQuery
from app.stored.schemas import (
    StoredCompletion,
    StoredCompletionDeleted,
    StoredCompletionMessage,
    UpdateStoredCompletion,
)
from app.stored.service import StoredCompletions
from app.web.bodies import WireBody
from app.web.queries import require_id, require_storable


class StoredCompletionsController(Controller):
    """Chat completions that were made with `store`."""

    path = "/v1"
    tags = ("Stored chat completions",)

    @get("/chat/completions", operation_id="listChatCompletions")
    async def page(
        self,
        caller: NamedDependency[Caller],
        stored: NamedDependency[StoredCompletions],
        ascending_page: NamedDependency[PageQuery],
        metadata_filter: NamedDependency[dict[str, str]],
        model: FromQuery[str | None] = None,
    ) -> Response[Page[StoredCompletion]]:
        """List stored chat completions, oldest first; of a model, or with `metadata[key]=value`."""
        if model:
            require_storable("model", model)
        return Response[Any](await stored.page(caller, ascending_page, model or None, metadata_filter))

    @get("/chat/completions/{completion_id:str}", operation_id="getChatCompletion")
    async def retrieve(
        self,
        caller: NamedDependency[Caller],
        stored: NamedDependency[StoredCompletions],
        completion_id: FromPath[str],
    ) -> Response[StoredCompletion]:
        """Retrieve a stored chat completion."""
        require_id("completion_id", completion_id, "chatcmpl")
        return Response[Any](await stored.retrieve(caller, completion_id))

    @get("/chat/completions/{completion_id:str}/messages", operation_id="getChatCompletionMessages")
    async def messages(
        self,
        caller: NamedDependency[Caller],
        stored: NamedDependency[StoredCompletions],
        ascending_page: NamedDependency[PageQuery],
        completion_id: FromPath[str],
    ) -> Response[Page[StoredCompletionMessage]]:
        """List the messages that a stored chat completion answers, in the order in which they were sent."""
        require_id("completion_id", completion_id, "chatcmpl")
        return Response[Any](await stored.messages(caller, completion_id, ascending_page))

    @post(
        "/chat/completions/{completion_id:str}",
        dto=WireBody[UpdateStoredCompletion],
        status_code=200,
        operation_id="updateChatCompletion",
    )
    async def update(
        self,
        caller: NamedDependency[Caller],
        stored: NamedDependency[StoredCompletions],
        completion_id: FromPath[str],
        data: JSONBody[UpdateStoredCompletion],
    ) -> Response[StoredCompletion]:
        """Replace the metadata of a stored chat completion; null clears it."""
        require_id("completion_id", completion_id, "chatcmpl")
        return Response[Any](await stored.update(caller, completion_id, data.metadata or {}))

    @delete("/chat/completions/{completion_id:str}", status_code=200, operation_id="deleteChatCompletion")
    async def delete(
        self,
        caller: NamedDependency[Caller],
        stored: NamedDependency[StoredCompletions],
        completion_id: FromPath[str],
    ) -> Response[StoredCompletionDeleted]:
        """Delete a stored chat completion."""
        require_id("completion_id", completion_id, "chatcmpl")
        return Response(await stored.delete(caller, completion_id))
