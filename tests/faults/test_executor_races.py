"""What two callers do to one run between two turns of the event loop."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Row

from app.assistants.schemas import CreateAssistant
from app.assistants.service import AssistantService
from app.assistants.tools import FunctionDefinition, FunctionTool
from app.db.opening import open_database
from app.db.tables import DEFAULT_PROJECT
from app.inference.chunks import Choice, Chunk, Delta, FunctionPiece, ToolCallPiece
from app.keys.grant import Grant
from app.keys.limits import Limits
from app.limits.allowance import Allowance
from app.runs.columns import input_of
from app.runs.repository import RunReader, RunWriter
from app.runs.rows import spec_of
from app.runs.schemas import CreateRun, SubmitOutputs, ToolOutput
from app.threads.schemas import CreateThread
from tests.fakes.callers import ALLOWANCE, CALLER, LIMITER
from tests.fakes.clock import SetClock
from tests.fakes.model import finish, text, usage
from tests.faults.puppets import Node, no_model

pytestmark = pytest.mark.anyio
WITHIN_S = 5
CLOCK = SetClock()
CALL = Chunk(
    choices=[Choice(delta=Delta(tool_calls=[ToolCallPiece(function=FunctionPiece(name="look_up", arguments="{}"))]))]
)


@asynccontextmanager
async def prepared(url: str) -> AsyncIterator[tuple[Node, str, CreateRun]]:
    """Give a server with one slot, a thread, and a run to start in it."""
    database = await open_database(url)
    node = Node(database, CLOCK, flush_s=0.01)
    assistants = AssistantService(database, CLOCK, no_model)
    assistant = await assistants.create(CALLER, CreateAssistant(model="m"))
    thread = await node.threads.create(CALLER, CreateThread())
    tool = FunctionTool(function=FunctionDefinition(name="look_up"))
    try:
        async with asyncio.timeout(WITHIN_S):
            yield node, thread.id, CreateRun(assistant_id=assistant.id, tools=[tool])
    finally:
        await node.crash()
        await database.close()


async def row_of(node: Node, thread: str, run: str) -> Row[Any]:
    """Return a run's row."""
    return await node.store.read(lambda tx: RunReader(tx, DEFAULT_PROJECT).require(thread, run))


async def accepted(node: Node, thread: str, body: CreateRun) -> tuple[Any, Any, Any]:
    """Commit a run, with the slot it starts in, as the service does before it submits it."""
    place = node.executor.reserve(DEFAULT_PROJECT)
    row, past = await node.store.write(
        lambda tx: RunWriter(tx, CALLER).accept(thread, input_of(body, 600), [], CLOCK.now(), starts=place.starts)
    )
    return place, row, past


async def test_a_run_that_is_cancelled_before_its_task_has_begun_is_cancelled_and_gives_its_slot_back(
    sqlite_url: str,
) -> None:
    async with prepared(sqlite_url) as (node, thread, body):
        place, row, past = await accepted(node, thread, body)
        place.submit(spec_of(row), past)
        assert await node.executor.cancel(row.id)
        assert (await row_of(node, thread, row.id)).status == "cancelled"
        assert node.executor.slots.try_take(DEFAULT_PROJECT)


async def test_a_run_whose_thread_is_deleted_before_its_task_has_begun_gives_its_slot_back(sqlite_url: str) -> None:
    async with prepared(sqlite_url) as (node, thread, body):
        place, row, past = await accepted(node, thread, body)
        place.submit(spec_of(row), past)
        node.executor.abandon(row.id)
        await node.calm()
        assert node.executor.topic(row.id) is None
        assert node.executor.slots.try_take(DEFAULT_PROJECT)


async def test_outputs_that_come_before_the_task_that_asked_for_them_is_over_are_taken_and_both_streams_end(
    sqlite_url: str,
) -> None:
    async with prepared(sqlite_url) as (node, thread, body):
        started = await node.runs.create(CALLER, ALLOWANCE, thread, body)
        told = [node.follow(started)]
        await node.calm()

        async def submit_at_once() -> None:
            row = await row_of(node, thread, started.run.id)
            if row.status == "requires_action" and len(told) == 1:
                call = json.loads(row.required_action)["submit_tool_outputs"]["tool_calls"][0]
                outputs = SubmitOutputs(tool_outputs=[ToolOutput(tool_call_id=call["id"], output="found")])
                node.store.after_write = None
                again = await node.runs.submit_outputs(CALLER, ALLOWANCE, thread, started.run.id, outputs)
                told.append(node.follow(again))

        node.store.after_write = submit_at_once
        for line in ([CALL], [finish("tool_calls")], [usage()], None):
            node.model.calls[0].feed(line)
        await node.calm()
        for line in ([text("found")], [finish()], [usage()], None):
            node.model.calls[0].feed(line)
        await node.calm()
        last = [[event.event for event in reader.events[-2:]] for reader in told]
        assert last == [["thread.run.requires_action", "done"], ["thread.run.completed", "done"]]


async def test_a_run_gives_its_place_under_its_keys_limits_back_before_anybody_can_see_that_it_is_over(
    sqlite_url: str,
) -> None:
    one_at_a_time = Grant(
        key_id="key_one", project_id=DEFAULT_PROJECT, scopes=frozenset(), limits=Limits(concurrent_runs=1)
    )
    async with prepared(sqlite_url) as (node, thread, body):
        started = await node.runs.create(CALLER, Allowance(LIMITER, one_at_a_time), thread, body)
        await node.calm()
        seen = {}

        async def look() -> None:
            status = (await row_of(node, thread, started.run.id)).status
            seen[status] = LIMITER.remaining(one_at_a_time)[0].concurrent_runs

        await look()
        node.store.after_write = look
        for line in ([text("found")], [finish()], [usage()], None):
            node.model.calls[0].feed(line)
        await node.calm()
        assert seen == {"in_progress": 0, "completed": 1}


async def test_what_was_said_before_the_thread_was_deleted_is_charged(sqlite_url: str) -> None:
    grant = Grant(key_id="key_deleter", project_id=DEFAULT_PROJECT, scopes=frozenset())
    async with prepared(sqlite_url) as (node, thread, body):
        await node.runs.create(CALLER, Allowance(LIMITER, grant), thread, body)
        await node.calm()
        node.model.calls[0].feed([text("x" * 400)])
        await node.calm()
        await node.threads.delete(CALLER, thread)
        await node.calm()
        counts = LIMITER.ledger.counts(grant.key_id, DEFAULT_PROJECT)
        assert (counts.completion_tokens, counts.runs) == (100, 1)


async def test_a_run_that_another_server_takes_up_meanwhile_is_left_to_it(sqlite_url: str) -> None:
    async with prepared(sqlite_url) as (node, thread, body):
        place, _, _ = await accepted(node, thread, body)
        place.release()

        async def be_faster() -> None:
            node.store.after_read = None
            await node.runs.take_up_unended()

        node.store.after_read = be_faster
        await node.runs.take_up_unended()
        await node.calm()
        assert len(node.model.calls) == 1
