"""Several servers on one PostgreSQL: none takes what another carries out; what one leaves behind the others take."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Row, select, text

from app.db.tables import RunRow, ServerRow, table
from app.runs.lease import LeaseTimes
from tests.fakes.model_faults import stalls
from tests.fakes.model_gate import waits
from tests.fakes.model_server import ModelServer, model_server
from tests.fakes.model_tools import calling, calls, function
from tests.fakes.model_wire import MODEL, role
from tests.fakes.model_wire import text as said
from tests.fixtures.calls import Json, became, ended, new_assistant, new_run, new_thread
from tests.fixtures.rooms import Served, served
from tests.fixtures.tools import names, path_of, submit, told, waiting_run

pytestmark = pytest.mark.anyio

RUNS, SERVERS = table(RunRow), table(ServerRow)
LOOK_S = 0.05
USUAL = LeaseTimes(say_s=0.1, look_s=LOOK_S)
WATCHFUL = LeaseTimes(lease_s=0.5, say_s=0.1, look_s=LOOK_S)
SILENT = LeaseTimes(say_s=3600, look_s=3600)
"""A server that speaks once: to the others it is dead soon, whatever it does."""
NOT_WAITED_FOR_S = 5


@pytest.fixture
def open_one(conformance: Any, empty_postgres_url: str) -> Any:
    """Give `async with open_one(model, times) as api`: one of several servers on one PostgreSQL."""

    def open_api(model: ModelServer, times: LeaseTimes, **env: str) -> Any:
        fixed = {"DATABASE_URL": empty_postgres_url, "MODEL_URL": model.url, "SHUTDOWN_GRACE_S": "0.05"}
        return served(conformance, lease=times, **fixed, **env)

    return open_api


async def started_run(on: Served, tools: tuple[Json, ...] = ()) -> Json:
    """Start a run in a new thread; return it."""
    assistant = await new_assistant(on.client, model=MODEL, tools=list(tools))
    return await new_run(on.client, await new_thread(on.client, "x"), assistant)


async def row_of(on: Served, run: Json) -> Row[Any]:
    """Return a run's row."""
    row = await on.database.read(lambda tx: tx.first(select(RUNS).where(RUNS.c.id == run["id"])))
    assert row is not None
    return row


async def seen(on: Served) -> dict[str, int]:
    """Return when each server was last seen."""
    rows = await on.database.read(lambda tx: tx.all(select(SERVERS)))
    return {row.id: row.seen_at for row in rows}


async def test_a_server_that_starts_leaves_what_a_living_one_carries_out_alone(open_one: Any) -> None:
    async with model_server() as model, model_server() as other, open_one(model, USUAL) as old:
        goes_on = asyncio.Event()
        model.script.append(waits(goes_on, "at last"))
        run = await started_run(old)
        await became(old.client, run, "in_progress")
        reading = asyncio.create_task(old.client.get(f"{path_of(run)}/events"))
        async with open_one(other, USUAL) as new:
            before = await seen(new)
            assert len(before) == 2
            async with asyncio.timeout(NOT_WAITED_FOR_S):
                while any(at == before[server] for server, at in (await seen(new)).items()):
                    await asyncio.sleep(LOOK_S)
            assert await new.parts.runs.take_up_unended() == 0
            goes_on.set()
            assert (await ended(new.client, run))["status"] == "completed"
            assert (await row_of(new, run)).fence == 1
        assert names(told(await reading))[-1] == "thread.run.completed"


async def test_the_runs_of_a_server_that_died_go_on_at_one_that_was_there_all_the_time(open_one: Any) -> None:
    async with (
        model_server() as model,
        model_server() as other,
        open_one(other, WATCHFUL) as there,
        open_one(model, SILENT, RUN_CONCURRENCY="1") as dead,
    ):
        model.script.append(stalls(role(), said("half")))
        running, queued = await started_run(dead), await started_run(dead)
        async with asyncio.timeout(NOT_WAITED_FOR_S):
            for run in (running, queued):
                assert (await ended(there.client, run))["status"] == "completed"
                assert (await row_of(there, run)).fence == 2


async def test_what_a_server_that_stops_leaves_is_taken_before_a_lease_would_lapse(open_one: Any) -> None:
    async with model_server() as model, model_server() as other, open_one(other, USUAL) as there:
        async with open_one(model, USUAL, RUN_CONCURRENCY="1") as stops:
            model.script.append(stalls(role(), said("half")))
            runs = [await started_run(stops), await started_run(stops)]
            assert len(await seen(there)) == 2
        async with asyncio.timeout(NOT_WAITED_FOR_S):
            for run in runs:
                assert (await ended(there.client, run))["status"] == "completed"
        (still_there,) = await seen(there)
        assert {(await row_of(there, run)).owner for run in runs} == {still_there}


async def test_a_run_that_waits_for_outputs_is_taken_by_the_server_that_gets_them(open_one: Any) -> None:
    async with model_server() as model, model_server() as other, open_one(model, SILENT) as dead:
        model.script.append(calls(calling("get_price", "{}")))
        other.script.append(waits(asyncio.Event(), "never"))
        assistant = await new_assistant(dead.client, model=MODEL, tools=[function("get_price")])
        run = await waiting_run(dead.client, await new_thread(dead.client, "x"), assistant)
        async with open_one(other, LeaseTimes(lease_s=0, look_s=3600)) as new:
            assert await new.parts.runs.take_up_unended() == 0
            assert (await row_of(new, run)).fence == 1
            assert (await submit(new.client, run, "7")).status_code == 200
            assert await dead.parts.runs.take_up_unended() == 0
            assert (await row_of(new, run)).owner in await seen(new)
            await new.client.post(f"{path_of(run)}/cancel")


async def test_a_run_of_before_there_were_owners_is_taken_and_a_server_that_was_forgotten_comes_back(
    open_one: Any,
) -> None:
    only_speaks = LeaseTimes(say_s=0.1, look_s=3600)
    async with model_server() as model, model_server() as other, open_one(model, only_speaks) as old:
        model.script.append(stalls(role(), said("half")))
        run = await started_run(old)
        await became(old.client, run, "in_progress")
        await old.database.write(lambda tx: tx.run(text("UPDATE runs SET owner = NULL")))
        await old.database.write(lambda tx: tx.run(text("DELETE FROM servers")))
        async with open_one(other, SILENT) as new:
            assert (await ended(new.client, run))["status"] == "completed"
            async with asyncio.timeout(NOT_WAITED_FOR_S):
                while len(await seen(new)) < 2:
                    await asyncio.sleep(LOOK_S)
