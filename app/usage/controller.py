"""/v1/usage and /admin/usage."""

from typing import Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency, Provide

from app.errors import InvalidRequest
from app.kit.pages import Page, PageQuery
from app.limits.calendar import day_number, day_text
from app.usage.schemas import OwnUsage, UsageFilter, UsageRecord
from app.usage.service import UsageService
from app.web.queries import project_filter, require_id


def usage_filter(request: Request[Any, Any, Any]) -> UsageFilter:
    """Read `project_id`, `key_id`, `first_day` and `last_day`. Raises InvalidRequest."""
    params = request.query_params
    key_id = params.get("key_id")
    return UsageFilter(
        project_id=project_filter(request),
        key_id=require_id("key_id", key_id, "key") if key_id else None,
        first_day=_day("first_day", params.get("first_day")),
        last_day=_day("last_day", params.get("last_day")),
    )


def _day(param: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        if day_text(day_number(text)) != text:  # another form of ISO 8601, which would not sort among days
            raise ValueError(text)
    except ValueError:
        raise InvalidRequest(
            f"Invalid '{param}': expected a day such as '2026-11-22'.", param=param, code="invalid_value"
        ) from None
    return text


class UsageController(Controller):
    """Usage: what a key has used, and what its limits leave it."""

    path = "/v1/usage"
    tags = ("Usage",)

    @get("/", operation_id="getUsage")
    async def own(self, request: Request[Any, Any, Any], usage: NamedDependency[UsageService]) -> Response[OwnUsage]:
        """Return the key's own figures: today, this month, and each of its last 31 days, in UTC."""
        return Response(await usage.own(request.scope["state"]["grant"]))


class AdminUsageController(Controller):
    """Usage of every key in every project, by day."""

    path = "/admin/usage"
    tags = ("Usage",)
    dependencies = {"usage_filter": Provide(usage_filter, sync_to_thread=False)}

    @get("/", operation_id="listUsage")
    async def page(
        self,
        usage: NamedDependency[UsageService],
        usage_filter: NamedDependency[UsageFilter],
        page_query: NamedDependency[PageQuery],
    ) -> Response[Page[UsageRecord]]:
        """List records of usage, newest day first: one for each key, project and day."""
        return Response(await usage.page(usage_filter, page_query))
