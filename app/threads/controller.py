"""/v1/threads."""

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.kit.caller import Caller
from app.kit.pages import Page, PageQuery
from app.threads.schemas import CreateThread, Thread, ThreadDeleted, UpdateThread
from app.threads.service import ThreadService
from app.web.bodies import WireBody
from app.web.queries import require_id


class ThreadsController(Controller):
    """Threads: conversations that keep their messages."""

    path = "/v1/threads"
    tags = ("Threads",)

    @post("/", dto=WireBody[CreateThread], status_code=200, operation_id="createThread")
    async def create(
        self,
        caller: NamedDependency[Caller],
        threads: NamedDependency[ThreadService],
        data: JSONBody[CreateThread],
    ) -> Response[Thread]:
        """Create a thread, with its first messages if there are any."""
        if data.assistant_id is not None:
            require_id("assistant_id", data.assistant_id, "asst")
        return Response(await threads.create(caller, data))

    @get("/", operation_id="listThreads")
    async def page(
        self,
        caller: NamedDependency[Caller],
        threads: NamedDependency[ThreadService],
        page_query: NamedDependency[PageQuery],
        metadata_filter: NamedDependency[dict[str, str]],
    ) -> Response[Page[Thread]]:
        """List threads, newest first, which the original could not; `metadata[key]=value` keeps those that have it."""
        return Response(await threads.page(caller, page_query, metadata_filter))

    @get("/{thread_id:str}", operation_id="getThread")
    async def retrieve(
        self,
        caller: NamedDependency[Caller],
        threads: NamedDependency[ThreadService],
        thread_id: FromPath[str],
    ) -> Response[Thread]:
        """Retrieve a thread."""
        require_id("thread_id", thread_id, "thread")
        return Response(await threads.retrieve(caller, thread_id))

    @post("/{thread_id:str}", dto=WireBody[UpdateThread], status_code=200, operation_id="modifyThread")
    async def update(
        self,
        caller: NamedDependency[Caller],
        threads: NamedDependency[ThreadService],
        thread_id: FromPath[str],
        data: JSONBody[UpdateThread],
    ) -> Response[Thread]:
        """Change a thread's metadata or tool resources. What is not sent stays; null clears."""
        require_id("thread_id", thread_id, "thread")
        return Response(await threads.update(caller, thread_id, data))

    @delete("/{thread_id:str}", status_code=200, operation_id="deleteThread")
    async def delete(
        self,
        caller: NamedDependency[Caller],
        threads: NamedDependency[ThreadService],
        thread_id: FromPath[str],
    ) -> Response[ThreadDeleted]:
        """Delete a thread with its messages, runs and steps. A run that is active in it is stopped."""
        require_id("thread_id", thread_id, "thread")
        return Response(await threads.delete(caller, thread_id))
