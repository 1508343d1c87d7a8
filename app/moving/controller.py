"""/admin/import and /admin/export."""

import re
from typing import Any

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody

from app.errors import InvalidRequest
from app.kit.caller import Caller
from app.moving.schemas import PAGE_LINES, ExportPage, ExportQuery, Imported, ImportLines
from app.moving.service import MovingService
from app.web.bodies import WireBody
from app.web.queries import project_filter, require_id

_THREAD = re.compile(r"(thread|chain|conv)[A-Za-z0-9_-]*")
_NUMBER = re.compile(r"[0-9]{1,9}")


def export_query(request: Request[Any, Any, Any]) -> ExportQuery:
    """Read `project_id`, `thread_id`, `after` and `limit`. Raises InvalidRequest."""
    params = request.query_params
    thread_id, limit = params.get("thread_id"), params.get("limit", str(PAGE_LINES))
    if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= PAGE_LINES:
        text = f"Invalid 'limit': expected an integer between 1 and {PAGE_LINES}, but got '{limit}' instead."
        raise InvalidRequest(text, param="limit", code="invalid_value")
    return ExportQuery(
        project_id=project_filter(request),
        thread_id=_thread(thread_id) if thread_id else None,
        after=params.get("after") or None,
        limit=int(limit),
    )


def _thread(thread_id: str) -> str:
    return thread_id if _THREAD.fullmatch(thread_id) else require_id("thread_id", thread_id, "thread")


class MovingController(Controller):
    """Moving house: what projects hold, brought in and taken out as lines. For keys with the scope `admin`."""

    path = "/admin"
    tags = ("Moving",)
    dependencies = {"export_query": Provide(export_query, sync_to_thread=False)}

    @post("/import", dto=WireBody[ImportLines], status_code=200, operation_id="importLines")
    async def bring_in(
        self,
        caller: NamedDependency[Caller],
        moving: NamedDependency[MovingService],
        data: JSONBody[ImportLines],
    ) -> Response[Imported]:
        """Bring in a batch of lines: assistants, threads, messages and what else an export holds, in one transaction.

        What is there already is left alone, so a batch can be sent again; what is refused is told line by line.
        """
        return Response(await moving.bring_in(caller, data))

    @get("/export", operation_id="exportLines")
    async def take_out(
        self, moving: NamedDependency[MovingService], export_query: NamedDependency[ExportQuery]
    ) -> Response[ExportPage]:
        """Take out what one thread, one project or all of them hold, a page of lines at a time.

        A thread in which a run is active is told as it was before that run.
        """
        return Response(await moving.take_out(export_query))
