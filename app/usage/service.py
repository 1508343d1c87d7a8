"""Tells usage. What was counted a moment ago is stored first, so that figures are never behind what was answered."""

from app.db.database import Database
from app.keys.grant import Grant
from app.kit.pages import Page, PageQuery
from app.limits.calendar import day_text, month_start
from app.limits.keeper import UsageKeeper
from app.limits.limiter import Limiter
from app.limits.repository import days_of
from app.usage.repository import page_of_records
from app.usage.schemas import Bounds, OwnUsage, UsageFilter, UsageRecord, day_of, summed

DAYS_TOLD = 31


class UsageService:
    """Reads what keys have used."""

    def __init__(self, database: Database, limiter: Limiter, keeper: UsageKeeper) -> None:
        self._database = database
        self._limiter = limiter
        self._keeper = keeper

    async def own(self, grant: Grant) -> OwnUsage:
        """Return a key's own figures, the days of its last 31 on which there are any."""
        await self._keeper.store()
        today = self._limiter.ledger.today()
        rows = await self._database.read(lambda tx: days_of(tx, grant.key_id, today - DAYS_TOLD + 1, today))
        figures = [day_of(row) for row in rows]
        of_key, of_project = self._limiter.remaining(grant)
        first_of_month = day_text(month_start(today))
        return OwnUsage(
            key_id=grant.key_id,
            project_id=grant.project_id,
            today=summed(day for day in figures if day.day == day_text(today)),
            month=summed(day for day in figures if day.day >= first_of_month),
            days=figures,
            key=Bounds(limits=self._limiter.limits_of(grant), remaining=of_key),
            project=Bounds(limits=grant.project_limits, remaining=of_project),
        )

    async def page(self, wanted: UsageFilter, query: PageQuery) -> Page[UsageRecord]:
        """Return one page of records."""
        await self._keeper.store()
        return await self._database.read(lambda tx: page_of_records(tx, wanted, query))
