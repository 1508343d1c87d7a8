"""/v1/threads/{thread_id}/messages."""

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from app.kit.caller import Caller
from app.kit.pages import Page, PageQuery
from app.messages.schemas import CreateMessage, Message, MessageDeleted, UpdateMessage
from app.messages.service import MessageService
from app.web.bodies import WireBody
from app.web.queries import require_id


class MessagesController(Controller):
    """Messages of a thread, in the order of their positions."""

    path = "/v1/threads/{thread_id:str}/messages"
    tags = ("Messages",)

    @post("/", dto=WireBody[CreateMessage], status_code=200, operation_id="createMessage")
    async def create(
        self,
        caller: NamedDependency[Caller],
        messages: NamedDependency[MessageService],
        thread_id: FromPath[str],
        data: JSONBody[CreateMessage],
    ) -> Response[Message]:
        """Add a message at the end of a thread. Refused while a run holds the thread."""
        require_id("thread_id", thread_id, "thread")
        return Response(await messages.create(caller, thread_id, data))

    @get("/", operation_id="listMessages")
    async def page(
        self,
        caller: NamedDependency[Caller],
        messages: NamedDependency[MessageService],
        page_query: NamedDependency[PageQuery],
        thread_id: FromPath[str],
        run_id: FromQuery[str | None] = None,
    ) -> Response[Page[Message]]:
        """List a thread's messages, newest first; with `run_id` only those that this run made."""
        require_id("thread_id", thread_id, "thread")
        if run_id:
            require_id("run_id", run_id, "run")
        return Response(await messages.page(caller, thread_id, run_id or None, page_query))

    @get("/{message_id:str}", operation_id="getMessage")
    async def retrieve(
        self,
        caller: NamedDependency[Caller],
        messages: NamedDependency[MessageService],
        thread_id: FromPath[str],
        message_id: FromPath[str],
    ) -> Response[Message]:
        """Retrieve a message."""
        _require_ids(thread_id, message_id)
        return Response(await messages.retrieve(caller, thread_id, message_id))

    @post("/{message_id:str}", dto=WireBody[UpdateMessage], status_code=200, operation_id="modifyMessage")
    async def update(
        self,
        caller: NamedDependency[Caller],
        messages: NamedDependency[MessageService],
        thread_id: FromPath[str],
        message_id: FromPath[str],
        data: JSONBody[UpdateMessage],
    ) -> Response[Message]:
        """Replace a message's metadata."""
        _require_ids(thread_id, message_id)
        return Response(await messages.update(caller, thread_id, message_id, data))

    @delete("/{message_id:str}", status_code=200, operation_id="deleteMessage")
    async def delete(
        self,
        caller: NamedDependency[Caller],
        messages: NamedDependency[MessageService],
        thread_id: FromPath[str],
        message_id: FromPath[str],
    ) -> Response[MessageDeleted]:
        """Delete a message."""
        _require_ids(thread_id, message_id)
        return Response(await messages.delete(caller, thread_id, message_id))


def _require_ids(thread_id: str, message_id: str) -> None:
    require_id("thread_id", thread_id, "thread")
    require_id("message_id", message_id, "msg")
