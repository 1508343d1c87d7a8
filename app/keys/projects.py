"""Rules of projects. The default project is always there; an archived one keeps its rows and lets nobody in."""

from typing import Any

from app.audit.repository import record
from app.db.database import WriteTx
from app.db.tables import DEFAULT_PROJECT
from app.errors import InvalidRequest
from app.keys.changes import Changes
from app.keys.limits import UNLIMITED
from app.keys.repository import KeyReader, KeyWriter
from app.keys.schemas import CreateProject, Project, UpdateProject, project_of
from app.keys.state import ProjectState
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.kit.ids import new_id
from app.kit.pages import Page, PageQuery
from app.kit.wire import sent_fields, to_json


class ProjectService:
    """Creates, changes, archives and lists projects."""

    def __init__(self, changes: Changes, clock: Clock) -> None:
        self._changes = changes
        self._database = changes.database
        self._clock = clock

    async def create(self, caller: Caller, body: CreateProject) -> Project:
        """Make a project."""
        now = self._clock.now()
        values = {
            "id": new_id("proj"),
            "name": body.name,
            "limits": to_json(body.limits or UNLIMITED),
            "created_at": now,
            "changed_at": now * 1000,
        }

        def work(tx: WriteTx) -> Project:
            made = project_of(KeyWriter(tx).add_project(values))
            record(tx, caller, "project.create", made.id, now)
            return made

        return await self._database.write(work)

    async def page(self, query: PageQuery) -> Page[Project]:
        """List projects."""
        return await self._database.read(lambda tx: KeyReader(tx).projects(query))

    async def retrieve(self, project_id: str) -> Project:
        """Return one project."""
        return project_of(await self._database.read(lambda tx: KeyReader(tx).require_project(project_id)))

    async def update(self, caller: Caller, project_id: str, body: UpdateProject) -> Project:
        """Change what was sent. Raises InvalidRequest for an archived project."""
        values, now = sent_fields(body), self._clock.now()
        if "limits" in values:
            values["limits"] = to_json(values["limits"] or UNLIMITED)

        def work(tx: WriteTx) -> Project:
            writer = KeyWriter(tx)
            row = writer.locked_project(project_id)
            require_open(row)
            record(tx, caller, "project.update", project_id, now)
            return project_of(writer.change_project(row, values, now))

        return await self._changes.carry_out(self._told(work))

    async def archive(self, caller: Caller, project_id: str) -> Project:
        """Let no key of a project in any more, from the next request on, for ever."""
        now = self._clock.now()
        if project_id == DEFAULT_PROJECT:
            raise InvalidRequest("The default project cannot be archived.", code="default_project")

        def work(tx: WriteTx) -> Project:
            writer = KeyWriter(tx)
            if writer.locked_project(project_id).archived_at is None:
                record(tx, caller, "project.archive", project_id, now)
                self._changes.note(ProjectState(id=project_id, archived_at=now))
            return project_of(writer.archive(project_id, now))

        return await self._changes.carry_out(self._told(work))

    async def _told(self, work: Any) -> Project:
        project: Project = await self._database.write(work)
        self._changes.ring.forget(project.id)
        return project


def require_open(project: Any) -> None:
    """Refuse to change what belongs to an archived project. Raises InvalidRequest."""
    if project.archived_at is not None:
        raise InvalidRequest(f"Project '{project.id}' is archived.", code="project_archived")
