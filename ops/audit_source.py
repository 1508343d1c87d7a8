"""Where `python -m ops audit` reads: from the API that runs, or from the store itself when none does."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from msgspec import DecodeError, json
from msgspec.structs import asdict

from app.audit.denials import Denials
from app.audit.keeper import AuditKeeper
from app.audit.schemas import AuditRecord, AuditVerification, RecordFilter, Span
from app.audit.service import AuditService
from app.db.opening import open_database, sqlite_file
from app.kit.clock import SystemClock
from app.kit.pages import Page, PageQuery
from app.settings import Settings
from ops.remote import NobodyListens, Refused, Remote

T = TypeVar("T")

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

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def page(self, wanted: RecordFilter, query: PageQuery) -> Page[AuditRecord]:
        """Return one page of records."""
        return self._asked(PAGE, {**asdict(wanted), **asdict(query)}, Page[AuditRecord])

    def verify(self, span: Span) -> AuditVerification:
        """Verify the next part of the chain."""
        links = {name: link and f"{link.position}:{link.hash}" for name, link in asdict(span).items()}
        return self._asked(f"{PAGE}/verify", links, AuditVerification)

    def _asked(self, path: str, query: Mapping[str, Any], kind: type[T]) -> T:
        given = {name: str(value) for name, value in query.items() if value is not None}
        content = self._remote.ask("GET", path, query=given)
        try:
            return json.decode(content, type=kind)
        except DecodeError:
            raise Refused(f"{self._remote.address}{path} has what no audit holds; `verify` says where") from None


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
def audit_source(settings: Settings, url: str | None) -> Iterator[AuditSource]:
    """Give the audit of the API, or of the store where none answers. Raises Refused and what open_database raises."""
    remote = Remote(settings, url)
    try:
        remote.ask("GET", PAGE, query={"limit": "1"})
    except NobodyListens:
        file = sqlite_file(settings.database_url)
        if url is not None:
            raise Refused(f"no API answers at {remote.address}") from None
        if file is not None and not file.exists():
            raise Refused(f"no API answers at {remote.address}, and there is no database {file}") from None
        with stored_audit(settings.database_url) as stored:
            yield stored
    else:
        yield RemoteAudit(remote)


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
