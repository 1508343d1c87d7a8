"""Reads the audit: pages of it, and whether it is whole."""

from contextlib import suppress

from app.audit.chain import START, ChainBroken, Fault, Link, follow
from app.audit.keeper import AuditKeeper
from app.audit.repository import read_records, rows_from
from app.audit.schemas import AuditRecord, AuditVerification, RecordFilter, Span, verification_of
from app.db.database import Database, StorageFailed, probe
from app.kit.pages import Page, PageQuery

WINDOW = 1000
"""Records that one transaction reads."""
PART = 100_000
"""Records that one call verifies."""


class AuditService:
    """Answers administrators, who see the records of every project."""

    def __init__(self, database: Database, keeper: AuditKeeper) -> None:
        self._database = database
        self._keeper = keeper

    async def page(self, wanted: RecordFilter, query: PageQuery) -> Page[AuditRecord]:
        """List records, all that was acknowledged before among them."""
        await self._settle()
        return await self._database.read(lambda tx: read_records(tx, wanted, query))

    async def verify(self, span: Span, *, part: int = PART) -> AuditVerification:
        """Follow the chain for about `part` records; the anchor is looked at when its end is reached."""
        if span.after is None:
            await self._settle()
        link = span.after or START
        last = link.position + part
        while link.position < last:
            reached, fault = await self._follow(link, WINDOW)
            if fault is not None:
                return verification_of(reached, fault)
            if reached == link:
                return verification_of(link, await self._fault_of_anchor(link, span.anchor))
            link = reached
        return verification_of(link, has_more=True)

    async def _settle(self) -> None:
        with suppress(ChainBroken):  # what was sealed before can still be read
            await self._keeper.settle()

    async def _follow(self, link: Link, limit: int) -> tuple[Link, Fault | None]:
        try:
            return await self._database.read(lambda tx: follow(link, rows_from(tx, link, limit)))
        except StorageFailed:
            await self._database.read(probe)  # or else it is not a row that is at fault, but the storage
            if limit == 1:
                return link, Fault(link.position + 1, "unreadable")
            return await self._follow(link, limit // 2)

    async def _fault_of_anchor(self, end: Link, anchor: Link | None) -> Fault | None:
        if anchor is None:
            return None
        if anchor.position > end.position:
            return Fault(end.position + 1, "cut_off")
        _, fault = await self._database.read(lambda tx: follow(anchor, rows_from(tx, anchor, 0)))
        return fault
