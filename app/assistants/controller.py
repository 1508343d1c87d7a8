"""/v1/assistants."""

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.assistants.schemas import Assistant, AssistantDeleted, CreateAssistant, UpdateAssistant
from app.assistants.service import AssistantService
from app.kit.caller import Caller
from app.kit.pages import Page, PageQuery
from app.web.bodies import WireBody
from app.web.queries import require_id


class AssistantsController(Controller):
    """Assistants: models with instructions and tools, kept for later runs."""

    path = "/v1/assistants"
    tags = ("Assistants",)

    @post("/", dto=WireBody[CreateAssistant], status_code=200, operation_id="createAssistant")
    async def create(
        self,
        caller: NamedDependency[Caller],
        assistants: NamedDependency[AssistantService],
        data: JSONBody[CreateAssistant],
    ) -> Response[Assistant]:
        """Create an assistant."""
        return Response(await assistants.create(caller, data))

    @get("/", operation_id="listAssistants")
    async def page(
        self,
        caller: NamedDependency[Caller],
        assistants: NamedDependency[AssistantService],
        page_query: NamedDependency[PageQuery],
    ) -> Response[Page[Assistant]]:
        """List assistants, newest first."""
        return Response(await assistants.page(caller, page_query))

    @get("/{assistant_id:str}", operation_id="getAssistant")
    async def retrieve(
        self,
        caller: NamedDependency[Caller],
        assistants: NamedDependency[AssistantService],
        assistant_id: FromPath[str],
    ) -> Response[Assistant]:
        """Retrieve an assistant."""
        require_id("assistant_id", assistant_id, "asst")
        return Response(await assistants.retrieve(caller, assistant_id))

    @post("/{assistant_id:str}", dto=WireBody[UpdateAssistant], status_code=200, operation_id="modifyAssistant")
    async def update(
        self,
        caller: NamedDependency[Caller],
        assistants: NamedDependency[AssistantService],
        assistant_id: FromPath[str],
        data: JSONBody[UpdateAssistant],
    ) -> Response[Assistant]:
        """Change an assistant. What is not sent stays; null clears."""
        require_id("assistant_id", assistant_id, "asst")
        return Response(await assistants.update(caller, assistant_id, data))

    @delete("/{assistant_id:str}", status_code=200, operation_id="deleteAssistant")
    async def delete(
        self,
        caller: NamedDependency[Caller],
        assistants: NamedDependency[AssistantService],
        assistant_id: FromPath[str],
    ) -> Response[AssistantDeleted]:
        """Delete an assistant. Threads stay, except those that were bound to it when they were created."""
        require_id("assistant_id", assistant_id, "asst")
        return Response(await assistants.delete(caller, assistant_id))
