"""/admin/projects and /admin/keys. They ask for the scope `admin`, and see every project."""

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.keys.projects import ProjectService
from app.keys.schemas import (
    ApiKey,
    CreateKey,
    CreateProject,
    NewApiKey,
    Project,
    RotateKey,
    UpdateKey,
    UpdateProject,
)
from app.keys.service import KeyService
from app.kit.caller import Caller
from app.kit.pages import Page, PageQuery
from app.web.bodies import WireBody
from app.web.queries import require_id


class ProjectsController(Controller):
    """Projects: tenants of this server. What belongs to one is nowhere to be found for the keys of another."""

    path = "/admin/projects"
    tags = ("Projects",)

    @post("/", dto=WireBody[CreateProject], status_code=200, operation_id="createProject")
    async def create(
        self, caller: NamedDependency[Caller], projects: NamedDependency[ProjectService], data: JSONBody[CreateProject]
    ) -> Response[Project]:
        """Create a project."""
        return Response(await projects.create(caller, data))

    @get("/", operation_id="listProjects")
    async def page(
        self, projects: NamedDependency[ProjectService], page_query: NamedDependency[PageQuery]
    ) -> Response[Page[Project]]:
        """List projects, newest first, archived ones too."""
        return Response(await projects.page(page_query))

    @get("/{project_id:str}", operation_id="getProject")
    async def retrieve(self, projects: NamedDependency[ProjectService], project_id: FromPath[str]) -> Response[Project]:
        """Retrieve a project."""
        require_id("project_id", project_id, "proj")
        return Response(await projects.retrieve(project_id))

    @post("/{project_id:str}", dto=WireBody[UpdateProject], status_code=200, operation_id="modifyProject")
    async def update(
        self,
        caller: NamedDependency[Caller],
        projects: NamedDependency[ProjectService],
        project_id: FromPath[str],
        data: JSONBody[UpdateProject],
    ) -> Response[Project]:
        """Change a project. What is not sent stays."""
        require_id("project_id", project_id, "proj")
        return Response(await projects.update(caller, project_id, data))

    @post("/{project_id:str}/archive", status_code=200, operation_id="archiveProject")
    async def archive(
        self, caller: NamedDependency[Caller], projects: NamedDependency[ProjectService], project_id: FromPath[str]
    ) -> Response[Project]:
        """Archive a project for ever: its rows stay, and from the next request on its keys let nobody in."""
        require_id("project_id", project_id, "proj")
        return Response(await projects.archive(caller, project_id))


class KeysController(Controller):
    """API keys. Their text is in the answers to creation and rotation, and nowhere else."""

    path = "/admin/keys"
    tags = ("Keys",)

    @post("/", dto=WireBody[CreateKey], status_code=200, operation_id="createKey")
    async def create(
        self, caller: NamedDependency[Caller], keys: NamedDependency[KeyService], data: JSONBody[CreateKey]
    ) -> Response[NewApiKey]:
        """Create an API key. The answer has its text, `key`, this once."""
        return Response(await keys.create(caller, data))

    @get("/", operation_id="listKeys")
    async def page(
        self,
        keys: NamedDependency[KeyService],
        page_query: NamedDependency[PageQuery],
        project_filter: NamedDependency[str | None],
    ) -> Response[Page[ApiKey]]:
        """List API keys, newest first, revoked and expired ones too."""
        return Response(await keys.page(project_filter, page_query))

    @get("/{key_id:str}", operation_id="getKey")
    async def retrieve(self, keys: NamedDependency[KeyService], key_id: FromPath[str]) -> Response[ApiKey]:
        """Retrieve an API key, without its secret."""
        require_id("key_id", key_id, "key")
        return Response(await keys.retrieve(key_id))

    @post("/{key_id:str}", dto=WireBody[UpdateKey], status_code=200, operation_id="modifyKey")
    async def update(
        self,
        caller: NamedDependency[Caller],
        keys: NamedDependency[KeyService],
        key_id: FromPath[str],
        data: JSONBody[UpdateKey],
    ) -> Response[ApiKey]:
        """Change an API key, from the next request on. What is not sent stays; null clears."""
        require_id("key_id", key_id, "key")
        return Response(await keys.update(caller, key_id, data))

    @post("/{key_id:str}/rotate", dto=WireBody[RotateKey], status_code=200, operation_id="rotateKey")
    async def rotate(
        self,
        caller: NamedDependency[Caller],
        keys: NamedDependency[KeyService],
        key_id: FromPath[str],
        data: JSONBody[RotateKey],
    ) -> Response[NewApiKey]:
        """Give an API key a new secret, shown this once. The old one is taken for `grace_s` more seconds."""
        require_id("key_id", key_id, "key")
        return Response(await keys.rotate(caller, key_id, data))

    @post("/{key_id:str}/revoke", status_code=200, operation_id="revokeKey")
    async def revoke(
        self, caller: NamedDependency[Caller], keys: NamedDependency[KeyService], key_id: FromPath[str]
    ) -> Response[ApiKey]:
        """Revoke an API key for ever, from the next request on. It stays in the list."""
        require_id("key_id", key_id, "key")
        return Response(await keys.revoke(caller, key_id))
