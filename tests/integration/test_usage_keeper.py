"""Usage in the store, on each engine: nothing is lost or counted twice, whatever fails; replicas add up."""

import asyncio
import logging

import pytest

from app.db.database import Database, StorageFailed
from app.db.opening import open_database
from app.keys.grant import Grant
from app.keys.limits import Limits
from app.limits.calendar import day_text
from app.limits.keeper import BATCH, LOOK_EVERY_S, UsageKeeper
from app.limits.ledger import Ledger
from app.limits.limiter import Limiter
from app.limits.repository import days_of
from tests.fakes.database import TroubledDatabase
from tests.fakes.two_clocks import TwoClocks

pytestmark = pytest.mark.anyio

DAY_S = 86_400
NOON = 1_795_348_800  # 2026-11-22
LIMITS = Limits(tokens_per_day=1000, tokens_per_month=5000)
KEY = Grant(key_id="key_one", project_id="proj_one", scopes=frozenset(), limits=LIMITS)


class Counting:
    """What one process has for it."""

    def __init__(self, database: Database, clock: TwoClocks, *, shared: bool = False, every_s: float = 3600) -> None:
        self.database = database
        self.clock = clock
        self.ledger = Ledger(clock)
        self.limiter = Limiter(clock, self.ledger)
        self.keeper = UsageKeeper(self.ledger, database, clock, shared=shared, every_s=every_s)

    def use(self, tokens: int, grant: Grant = KEY) -> None:
        self.limiter.admit_request(grant)
        self.limiter.admit_run(grant, tokens).settle(tokens - 1, 1)

    def left(self) -> tuple[int | None, int | None]:
        of_key, _ = self.limiter.remaining(KEY)
        return of_key.tokens_per_day, of_key.tokens_per_month

    async def stored(self) -> dict[str, tuple[int, ...]]:
        """Return what the store has of the key: by day, its requests, tokens and runs."""
        today = self.ledger.today()
        rows = await self.database.read(lambda tx: days_of(tx, KEY.key_id, today - 60, today))
        return {row.day: (row.requests, row.prompt_tokens + row.completion_tokens, row.runs) for row in rows}


async def test_a_new_process_goes_on_where_the_last_one_stopped(database: Database) -> None:
    clock = TwoClocks(NOON)
    first = Counting(database, clock)
    await first.keeper.start()
    first.use(100)
    clock.pass_time(DAY_S)
    first.use(30)
    await first.keeper.close()
    second = Counting(database, clock)
    await second.keeper.start()
    assert second.left() == (970, 4870)
    assert await second.stored() == {"2026-11-22": (1, 100, 1), "2026-11-23": (1, 30, 1)}
    await second.keeper.close()


async def test_a_process_that_is_killed_loses_only_what_it_counted_since_it_stored_last(database: Database) -> None:
    clock = TwoClocks(NOON)
    killed = Counting(database, clock, every_s=0.01)
    await killed.keeper.start()
    killed.use(100)
    async with asyncio.timeout(10):
        while not await killed.stored():
            await asyncio.sleep(0.01)
    # Nothing of it is closed: the next one reads what is in the store at this moment.
    second = Counting(database, clock)
    await second.keeper.start()
    assert second.left() == (900, 4900)
    for counting in (second, killed):
        await counting.keeper.close()


async def test_the_days_of_last_month_are_not_of_this_one(database: Database) -> None:
    clock = TwoClocks(NOON)
    counting = Counting(database, clock)
    await counting.keeper.start()
    counting.use(100)
    clock.pass_time(9 * DAY_S)
    assert day_text(counting.ledger.today()) == "2026-12-01"
    counting.use(10)
    await counting.keeper.store()
    await counting.keeper.look()
    assert counting.left() == (990, 4990)
    await counting.keeper.close()


async def test_replicas_add_to_the_same_rows_and_see_what_the_others_spent(
    database: Database, database_url: str
) -> None:
    clock = TwoClocks(NOON)
    one = Counting(database, clock, shared=True)
    other_database = database if database_url.startswith("sqlite") else await open_database(database_url)
    other = Counting(other_database, clock, shared=True)
    for counting in (one, other):
        await counting.keeper.start()
    for tokens in range(1, 11):
        one.use(tokens)
        other.use(tokens)
        await asyncio.gather(one.keeper.store(), other.keeper.store())
    assert await one.stored() == {"2026-11-22": (20, 110, 20)}
    one.use(5)
    assert one.left() == (940, 4940)
    await one.keeper.look()
    assert one.left() == (885, 4885)
    for counting in (one, other):
        await counting.keeper.close()
    if other_database is not database:
        await other_database.close()


async def test_a_replica_looks_by_itself_every_few_seconds(database: Database) -> None:
    clock = TwoClocks(NOON)
    one, other = Counting(database, clock, shared=True, every_s=0.01), Counting(database, clock)
    await one.keeper.start()
    await other.keeper.start()
    other.use(400)
    await other.keeper.close()
    clock.pass_time(LOOK_EVERY_S)
    async with asyncio.timeout(10):
        while one.left() != (600, 4600):
            await asyncio.sleep(0.01)
    await one.keeper.close()


async def test_a_day_that_begins_or_a_clock_that_jumps_is_read_anew_by_itself(database: Database) -> None:
    clock = TwoClocks(NOON)
    counting = Counting(database, clock, every_s=0.01)
    await counting.keeper.start()
    counting.use(300)
    clock.set_wall(NOON + 3 * DAY_S)
    counting.use(20)
    clock.set_wall(NOON)
    async with asyncio.timeout(10):
        while counting.left() != (700, 4680):
            await asyncio.sleep(0.01)
    await counting.keeper.close()


async def test_what_could_not_be_stored_is_stored_later_once(database: Database) -> None:
    troubled = TroubledDatabase(database)
    counting = Counting(troubled, TwoClocks(NOON))
    await counting.keeper.start()
    counting.use(100)
    troubled.failures = 1
    troubled.gate.clear()
    failing = asyncio.create_task(counting.keeper.store())
    await a_write_waits(troubled)
    counting.use(50)
    troubled.gate.set()
    with pytest.raises(StorageFailed):
        await failing
    assert counting.left() == (850, 4850)
    await counting.keeper.store()
    await counting.keeper.store()
    assert await counting.stored() == {"2026-11-22": (2, 150, 2)}
    await counting.keeper.close()


async def a_write_waits(troubled: TroubledDatabase) -> None:
    """Wait until a write has begun."""
    async with asyncio.timeout(10):
        while not troubled.waiting:
            await asyncio.sleep(0)


async def test_a_storage_that_fails_is_tried_again_until_it_takes_the_figures(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    troubled = TroubledDatabase(database)
    counting = Counting(troubled, TwoClocks(NOON), every_s=0.01)
    await counting.keeper.start()
    troubled.failures = 3
    counting.use(100)
    async with asyncio.timeout(10):
        while not await counting.stored():
            await asyncio.sleep(0.01)
    await counting.keeper.close()
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 3
    assert {record.levelno for record in warnings} == {logging.WARNING}


async def test_a_caller_that_leaves_while_it_is_stored_neither_loses_nor_doubles_it(database: Database) -> None:
    troubled = TroubledDatabase(database)
    counting = Counting(troubled, TwoClocks(NOON))
    await counting.keeper.start()
    counting.use(100)
    troubled.gate.clear()
    leaving = asyncio.create_task(counting.keeper.store())
    await a_write_waits(troubled)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    counting.use(7)
    troubled.gate.set()
    await counting.keeper.close()
    assert await counting.stored() == {"2026-11-22": (2, 107, 2)}


async def test_more_keys_than_one_transaction_takes_are_all_stored(database: Database) -> None:
    counting = Counting(database, TwoClocks(NOON))
    await counting.keeper.start()
    for number in range(BATCH + 10):
        counting.use(1, Grant(key_id=f"key_{number}", project_id="proj_one", scopes=frozenset()))
    counting.use(5)
    await counting.keeper.store()
    second = Counting(database, counting.clock)
    await second.keeper.start()
    assert second.ledger.spent_by_project("proj_one").month == BATCH + 15
    for one in (counting, second):
        await one.keeper.close()
