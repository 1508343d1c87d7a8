"""An API is started on the store of another that was dropped without a word: every run goes on, none answers twice.

The one that was dropped lives on here behind its successor's back, as a process does that only seemed dead.
"""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from app.db.tables import RunRow, table
from app.engine.events import TextAdded, TurnCancelling
from app.engine.journal import Journal, LostRun, append_in, past_of
from app.engine.turn import Turn
from app.runs.lease import LeaseTimes
from app.runs.rows import spec_of
from tests.conformance.sse import parse
from tests.fakes.model_faults import stalls
from tests.fakes.model_gate import waits
from tests.fakes.model_server import ModelServer, model_server
from tests.fakes.model_tools import argued, calling, calls, calls_and_waits, function, named, says_and_waits
from tests.fakes.model_wire import MODEL, role, text
from tests.fixtures.calls import (
    Json,
    assert_refused,
    became,
    completed_run,
    ended,
    get,
    new_assistant,
    new_run,
    new_thread,
    post,
    texts_of,
)
from tests.fixtures.rooms import Served, served
from tests.fixtures.tools import names, path_of, steps_of, submit, told, waiting_run

pytestmark = pytest.mark.anyio

PRICE = function("get_price")
RUNS = table(RunRow)
NEVER_S = 3600.0


@pytest.fixture
def open_over(conformance: Any, database_url: str) -> Any:
    """Give `async with open_over(model) as served`: an API over this test's store; a second takes it over."""

    def open_one(model: ModelServer, **env: str) -> Any:
        # The kernel lets a dead process's lock go; here its owner lives on.
        Path(f"{database_url.removeprefix('sqlite:///')}.lock").unlink(missing_ok=True)
        fixed = {"DATABASE_URL": database_url, "MODEL_URL": model.url, "SHUTDOWN_GRACE_S": "0.05"}
        # Where the store may be shared, a server's lease ends with its last word.
        return served(conformance, lease=LeaseTimes(lease_s=0, look_s=NEVER_S), **fixed, **env)

    return open_one


async def started_run(on: Served, *, tools: Any = (), said: str = "x") -> Json:
    """Start a run in a new thread; return it."""
    assistant = await new_assistant(on.client, model=MODEL, tools=list(tools))
    return await new_run(on.client, await new_thread(on.client, said), assistant)


async def on_disk(on: Served, run: Json, *events: str) -> None:
    """Wait until a run's journal holds these kinds of events."""
    journal = Journal(on.database)
    async with asyncio.timeout(5):
        while True:
            kinds = {type(stamped.event).__name__ for stamped in await journal.events_after(run["id"], 0)}
            if set(events) <= kinds:
                return
            await asyncio.sleep(0.01)


async def said_by(api: Any, run: Json) -> list[tuple[str, str]]:
    """Return status and text of what a run said, oldest first."""
    page = await get(api, f"/v1/threads/{run['thread_id']}/messages", run_id=run["id"], order="asc")
    return [(message["status"], message["content"][0]["text"]["value"]) for message in page["data"]]


async def test_a_run_in_the_middle_of_its_answer_is_run_again_and_answers_once(open_over: Any) -> None:
    gate = asyncio.Event()
    async with model_server() as model, model_server() as other, open_over(model) as old:
        model.script.append(says_and_waits(gate, "half an answer"))
        run = await started_run(old)
        await on_disk(old, run, "TextAdded")
        async with open_over(other) as new:
            api = new.client
            done = await ended(api, run)
            assert (done["status"], done["last_error"]) == ("completed", None)
            assert await said_by(api, run) == [("completed", "hello there")]
            # The one that only seemed dead ends its answer now, and is refused.
            gate.set()
            while old.parts.executor.topic(run["id"]) is not None:
                await asyncio.sleep(0.01)
            assert await get(api, path_of(run)) == done
            assert await said_by(api, run) == [("completed", "hello there")]
            assert [step["status"] for step in await steps_of(api, run)] == ["completed"]
            await post(api, f"/v1/threads/{run['thread_id']}/messages", {"role": "user", "content": "free"})
            assert await texts_of(api, run["thread_id"]) == ["x", "hello there", "free"]


async def test_queued_runs_are_run_and_keep_their_order(open_over: Any) -> None:
    async with model_server() as model, model_server() as other, open_over(model, RUN_CONCURRENCY="1") as old:
        model.script.append(stalls(role()))
        runs = [await started_run(old, said=f"question {number}") for number in range(4)]
        await became(old.client, runs[0], "in_progress")
        async with open_over(other, RUN_CONCURRENCY="1", RUN_QUEUE_LIMIT="0") as new:
            for run in runs:
                assert (await ended(new.client, run))["status"] == "completed"
                assert await said_by(new.client, run) == [("completed", "hello there")]
            asked = [request.json["messages"][-1]["content"] for request in other.requests if request.method == "POST"]
            assert asked == [f"question {number}" for number in range(4)]


async def test_a_run_that_waits_for_outputs_still_takes_them(open_over: Any) -> None:
    async with model_server() as model, model_server() as other:
        async with open_over(model) as old:
            model.script.append(calls(calling("get_price", "{}")))
            assistant = await new_assistant(old.client, model=MODEL, tools=[PRICE])
            run = await waiting_run(old.client, await new_thread(old.client, "x"), assistant)
        async with open_over(other) as new:
            assert await get(new.client, path_of(run)) == run
            assert_refused(
                await new.client.post(
                    f"/v1/threads/{run['thread_id']}/messages", json={"role": "user", "content": "y"}
                ),
                f"Can't add messages to {run['thread_id']} while a run {run['id']} is active.",
            )
            events = told(await submit(new.client, run, "7", stream=True))
            assert events[-1] == ("thread.run.completed", await ended(new.client, run))
            asked = other.requests[-1].json["messages"]
            assert [said["role"] for said in asked] == ["user", "assistant", "tool"]
            assert asked[-1]["content"] == "7"


async def test_a_run_whose_outputs_were_taken_does_not_ask_for_them_again(open_over: Any) -> None:
    async with model_server() as model, model_server() as other, open_over(model) as old:
        model.script.extend([calls(calling("get_price", "{}")), stalls(role(), text("half"))])
        assistant = await new_assistant(old.client, model=MODEL, tools=[PRICE])
        run = await waiting_run(old.client, await new_thread(old.client, "x"), assistant)
        assert (await submit(old.client, run, "7")).status_code == 200
        await on_disk(old, run, "TextAdded")
        async with open_over(other) as new:
            done = await ended(new.client, run)
            assert done["status"] == "completed"
            assert [step["type"] for step in await steps_of(new.client, run)] == ["tool_calls", "message_creation"]
            assert await said_by(new.client, run) == [("completed", "hello there")]
            assert done["usage"]["completion_tokens"] == 5 + 2


@pytest.mark.parametrize("spoken", ["", "Let me look."])
async def test_calls_that_were_not_whole_are_made_anew(open_over: Any, spoken: str) -> None:
    half = (text(spoken), named(0, "get_price"), argued(0, '{"sym')) if spoken else (named(0, "get_price"),)
    async with model_server() as model, model_server() as other, open_over(model) as old:
        model.script.append(calls_and_waits(asyncio.Event(), *half))
        other.script.append(calls(calling("get_price", "{}"), says=spoken))
        run = await started_run(old, tools=[PRICE])
        await on_disk(old, run, "ToolCallAdded", *(["MessageFinished"] if spoken else []))
        async with open_over(other) as new:
            waiting = await became(new.client, run, "requires_action")
            asked = other.requests[-1].json["messages"]
            assert asked == [{"role": "user", "content": "x"}]
            assert (await submit(new.client, waiting, "7")).status_code == 200
            assert (await ended(new.client, run))["status"] == "completed"
            before = [("completed", spoken)] if spoken else []
            assert await said_by(new.client, run) == [*before, ("completed", "hello there")]
            kinds = Counter(step["type"] for step in await steps_of(new.client, run))
            assert kinds == {"tool_calls": 1, "message_creation": 1 + len(before)}


async def test_a_cancellation_that_was_under_way_is_finished(open_over: Any) -> None:
    async with model_server() as model, open_over(model) as old:
        model.script.append(stalls(role(), text("half")))
        run = await started_run(old)
        await on_disk(old, run, "TextAdded")

        def begin_to_cancel(tx: Any) -> None:
            row = tx.first(select(RUNS).where(RUNS.c.id == run["id"]))
            append_in(tx, Turn(spec_of(row), past_of(tx, row.id)), (TurnCancelling(at=run["created_at"]),))

        await old.database.write(begin_to_cancel)
        assert (await get(old.client, path_of(run)))["status"] == "cancelling"
        async with open_over(model) as new:
            done = await get(new.client, path_of(run))
            assert (done["status"], done["required_action"]) == ("cancelled", None)
            assert await said_by(new.client, run) == [("incomplete", "half")]
            assert [step["status"] for step in await steps_of(new.client, run)] == ["cancelled"]
            await completed_run(new.client, run["thread_id"], run["assistant_id"])


async def test_runs_whose_time_is_up_by_then_expire(open_over: Any) -> None:
    async with model_server() as model, model_server() as other, open_over(model) as old:
        model.script.extend([calls(calling("get_price", "{}")), stalls(role(), text("half"))])
        assistant = await new_assistant(old.client, model=MODEL, tools=[PRICE])
        waiting = await waiting_run(old.client, await new_thread(old.client, "x"), assistant)
        running = await started_run(old)
        await on_disk(old, running, "TextAdded")
        past = update(RUNS).values(expires_at=running["created_at"] - 1)
        await old.database.write(lambda tx: tx.run(past))
        async with open_over(other) as new:
            for run in (waiting, running):
                assert (await ended(new.client, run))["status"] == "expired"
                await post(new.client, f"/v1/threads/{run['thread_id']}/messages", {"role": "user", "content": "free"})
            assert [request for request in other.requests if request.method == "POST"] == []


async def test_a_writer_with_an_old_fence_is_refused_in_its_transaction(open_over: Any) -> None:
    async with model_server() as model, model_server() as other, open_over(model) as old:
        model.script.append(stalls(role(), text("half")))
        other.script.append(waits(asyncio.Event(), "never"))
        run = await started_run(old)
        await on_disk(old, run, "TextAdded")
        row = await old.database.read(lambda tx: tx.first(select(RUNS).where(RUNS.c.id == run["id"])))
        past = await old.database.read(lambda tx: past_of(tx, run["id"]))
        late = Turn(spec_of(row), past)
        async with open_over(other) as new:
            await became(new.client, run, "in_progress")
            journal = Journal(old.database)
            before = await journal.events_after(run["id"], 0)
            with pytest.raises(LostRun):
                await journal.append(late, late.stamp([TextAdded(text=" an answer")]))
            assert await journal.append_together([(late, late.stamp([TextAdded(text="!")]))]) == {run["id"]}
            assert await journal.events_after(run["id"], 0) == before
            fence = await new.database.read(lambda tx: tx.first(select(RUNS.c.fence).where(RUNS.c.id == run["id"])))
            assert fence.fence > late.spec.fence
            await post(new.client, f"{path_of(run)}/cancel")


async def test_a_run_that_the_grace_did_not_suffice_for_goes_on_after_the_restart(open_over: Any) -> None:
    async with model_server() as model, model_server() as other:
        async with open_over(model, RUN_CONCURRENCY="1") as old:
            model.script.append(says_and_waits(asyncio.Event(), "half an answer"))
            running, queued = await started_run(old), await started_run(old)
            streaming = asyncio.create_task(old.client.get(f"{path_of(running)}/events"))
            await on_disk(old, running, "TextAdded")
        # A stream that the stop cut off says that it is not the end.
        *_, queued_again, broken_off, done = parse((await streaming).content)
        assert (queued_again.event, broken_off.event, done.event) == ("thread.run.queued", "error", "done")
        async with open_over(other) as new:
            for run in (running, queued):
                assert (await ended(new.client, run))["status"] == "completed"
                assert await said_by(new.client, run) == [("completed", "hello there")]


async def test_a_reader_who_comes_back_is_told_of_both_attempts(open_over: Any) -> None:
    async with model_server() as model, model_server() as other, open_over(model) as old:
        model.script.append(stalls(role(), text("half")))
        run = await started_run(old)
        await on_disk(old, run, "TextAdded")
        async with open_over(other) as new:
            done = await ended(new.client, run)
            whole = told(await new.client.get(f"{path_of(run)}/events"))
            assert names(whole)[7:12] == [
                "thread.message.delta",
                "thread.message.incomplete",
                "thread.run.step.failed",
                "thread.run.queued",
                "thread.run.in_progress",
            ]
            assert whole[-1] == ("thread.run.completed", done)
            rest = told(await new.client.get(f"{path_of(run)}/events", headers={"Last-Event-ID": "4"}))
            assert rest == whole[whole.index(rest[0]) :]
            assert names(rest)[0] == "thread.message.incomplete"
