"""Usage is read along an index, however many days there are of however many keys."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from app.db.database import Database, WriteTx
from app.kit.pages import PageQuery
from app.limits.calendar import day_number
from app.limits.ledger import Counts, UsageOf
from app.limits.repository import add_usage, days_of, totals
from app.usage.repository import page_of_records
from app.usage.schemas import UsageFilter
from tests.integration.db.plans import plans_of

pytestmark = pytest.mark.anyio

TODAY = day_number("2026-11-22")
DAYS, KEYS = 300, 50

Work = Callable[[WriteTx], object]


def page(tx: WriteTx, wanted: UsageFilter) -> None:
    found = page_of_records(tx, wanted, PageQuery(limit=20))
    assert found.has_more
    page_of_records(tx, wanted, PageQuery(limit=20, after=found.last_id))


WORKS: list[tuple[Work, set[str]]] = [
    (lambda tx: totals(tx, TODAY), {"usage.id"}),
    (lambda tx: days_of(tx, "key_7", TODAY - 30, TODAY), {"ix_usage_key"}),
    (lambda tx: page(tx, UsageFilter()), {"usage.id"}),
    (lambda tx: page(tx, UsageFilter(first_day="2026-11-01", last_day="2026-11-10")), {"usage.id"}),
    (lambda tx: page(tx, UsageFilter(project_id="proj_3")), {"usage.id", "ix_usage_project"}),
    (lambda tx: page(tx, UsageFilter(key_id="key_7")), {"usage.id", "ix_usage_key"}),
]


async def test_every_reading_of_usage_is_led_by_an_index(database: Database) -> None:
    def fill(tx: WriteTx) -> None:
        days = range(TODAY - DAYS + 1, TODAY + 1)
        add_usage(tx, {UsageOf(day, f"proj_{n % 5}", f"key_{n}"): Counts(1, 2, 3) for day in days for n in range(KEYS)})
        if tx._connection.dialect.name == "postgresql":
            tx.run(text("ANALYZE"))

    await database.write(fill)
    for work, allowed in WORKS:
        for plan in await database.write(lambda tx, work=work: plans_of(tx, work)):
            # A page of all records is read off the end of the index, which SQLite calls a scan of it.
            assert not [scan for scan in plan.scans if "USING INDEX" not in scan], plan
            assert plan.indexes <= allowed, plan
            assert plan.indexes, plan
