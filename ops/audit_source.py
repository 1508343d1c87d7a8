"""Where `python -m ops audit` reads: from the API that runs, or from the store itself when none does."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from msgspec import json
from msgspec.structs import asdict

from app.audit.denials import Denials
from app.audit.keeper import AuditKeeper
from app.audit.schemas import AuditRecord, AuditVerification, RecordFilter, Span
from app.audit.service import AuditService
from app.db.opening import open_database
from app.kit.clock import SystemClock
from app.kit.pages import Page, PageQuery
from app.settings import Settings
from ops.remote import NotRunning, ask

PAGE = "/admin/audit"


class AuditSource(Protocol):
    """What the command needs of the audit."""

    def page(self, wanted: RecordFilter, query: PageQuery) -> Page[AuditRecord]:
        """Return one page of records."""
        ...

    def verify(self, span: Span) -> AuditVerification:
        """Verify the next part of the chain."""
        ...


class RemoteAudit:
    """The audit as the running API tells it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def page(self, wanted: RecordFilter, query: PageQuery) -> Page[AuditRecord]:
        """Return one page of records."""
        return json.decode(self._ask(PAGE, {**asdict(wanted), **asdict(query)}), type=Page[AuditRecord])

    def verify(self, span: Span) -> AuditVerification:
        """Verify the next part of the chain."""
        links = {name: link and f"{link.position}:{link.hash}" for name, link in asdict(span).items()}
        return json.decode(self._ask(f"{PAGE}/verify", links), type=AuditVerification)

    def _ask(self, path: str, query: Mapping[str, Any]) -> bytes:
        given = {name: str(value) for name, value in query.items() if value is not None}
        return ask(self._settings, "GET", path, query=given)


class StoredAudit:
    """The audit in a store that this process has opened."""

    def __init__(self, runner: asyncio.Runner, service: AuditService) -> None:
        self._runner = runner
        self._service = service

    def page(self, wanted: RecordFilter, query: PageQuery) -> Page[AuditRecord]:
        """Return one page of records."""
        return self._runner.run(self._service.page(wanted, query))

    def verify(self, span: Span) -> AuditVerification:
        """Verify the next part of the chain."""
        return self._runner.run(self._service.verify(span))


@contextmanager
def audit_source(settings: Settings) -> Iterator[AuditSource]:
    """Give the API's audit where one runs, else the store's. Raises what ops.remote and open_database raise."""
    remote = RemoteAudit(settings)
    try:
        remote.page(RecordFilter(), PageQuery(limit=1))
    except NotRunning:
        with stored_audit(settings.database_url) as stored:
            yield stored
    else:
        yield remote


@contextmanager
def stored_audit(url: str) -> Iterator[AuditSource]:
    """Open the store for a block: on SQLite under the lock that the API would hold."""
    with asyncio.Runner() as runner:
        database = runner.run(open_database(url))
        try:
            keeper = AuditKeeper(database, Denials(SystemClock()))
            yield StoredAudit(runner, AuditService(database, keeper))
        finally:
            runner.run(database.close())
