"""Statements on usage for whoever is told of it. What writes it is app/limits/repository.py."""

from sqlalchemy import and_

from app.db.database import ReadTx
from app.db.repository import read_page
from app.kit.pages import Page, PageQuery
from app.limits.repository import USAGE, between
from app.usage.schemas import UsageFilter, UsageRecord, record_of


def page_of_records(tx: ReadTx, wanted: UsageFilter, query: PageQuery) -> Page[UsageRecord]:
    """Return one page of records, ordered by day, project and key."""
    scope = [between(wanted.first_day, wanted.last_day)]
    if wanted.project_id is not None:
        scope.append(USAGE.c.project_id == wanted.project_id)
    if wanted.key_id is not None:
        scope.append(USAGE.c.key_id == wanted.key_id)
    return read_page(tx, USAGE, and_(*scope), ("id",), query, record_of)
