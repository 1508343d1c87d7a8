"""/admin/audit."""

import re
from typing import Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency, Provide

from app.audit.schemas import AuditRecord, AuditVerification, RecordFilter, Span, link_of
from app.audit.service import AuditService
from app.errors import InvalidRequest
from app.kit.pages import Page, PageQuery

TEXTS = ("project_id", "key_id", "object_id", "action", "outcome")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SECONDS = re.compile(r"[0-9]{1,12}")


def record_filter(request: Request[Any, Any, Any]) -> RecordFilter:
    """Read which records are wanted. Raises InvalidRequest."""
    params = request.query_params
    texts = {name: _text(name, params[name]) for name in TEXTS if params.get(name)}
    since, until = (_seconds(name, params.get(name)) for name in ("since", "until"))
    return RecordFilter(**texts, since=since, until=until)


def span(request: Request[Any, Any, Any]) -> Span:
    """Read what of the chain to verify. Raises InvalidRequest."""
    params = request.query_params
    return Span(**{name: link_of(name, params[name]) for name in ("after", "anchor") if params.get(name)})


def _text(name: str, text: str) -> str:
    if not _PLAIN.fullmatch(text):
        raise _refused(name, text, "at most 64 letters, numbers, underscores, dots or dashes")
    return text


def _seconds(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not _SECONDS.fullmatch(text):
        raise _refused(name, text, "whole seconds since 1970")
    return int(text)


def _refused(param: str, text: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid '{param}': '{text}'. Expected {expected}.", param=param, code="invalid_value")


class AuditController(Controller):
    """The record of who changed what, and of what was denied. For keys with the scope `admin`."""

    path = "/admin/audit"
    tags = ("Audit",)
    dependencies = {
        "record_filter": Provide(record_filter, sync_to_thread=False),
        "span": Provide(span, sync_to_thread=False),
    }

    @get("/", operation_id="listAuditRecords")
    async def page(
        self,
        audit: NamedDependency[AuditService],
        record_filter: NamedDependency[RecordFilter],
        page_query: NamedDependency[PageQuery],
    ) -> Response[Page[AuditRecord]]:
        """List audit records of all projects, newest first.

        They are in the order of the chain, which is nearly that of time; `order=asc` with `after` misses none.
        """
        return Response(await audit.page(record_filter, page_query))

    @get("/verify", operation_id="verifyAudit")
    async def verify(
        self,
        audit: NamedDependency[AuditService],
        span: NamedDependency[Span],
    ) -> Response[AuditVerification]:
        """Verify that no audit record was changed, taken out or put in.

        One call follows the chain for about 100,000 records and says whether there are more.
        """
        return Response(await audit.verify(span))
