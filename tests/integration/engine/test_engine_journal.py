"""The journal on both engines: what each end leaves in the rows, what it costs, and that a lost run writes nothing."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import delete, update

from app.db.database import Database
from app.db.sqlite import SqliteDatabase
from app.engine.events import (
    ArgumentsAdded,
    MessageFinished,
    MessageStarted,
    MessageStopped,
    OutputsRequired,
    OutputsSubmitted,
    RunError,
    TextAdded,
    TokenUsage,
    ToolCallAdded,
    ToolCallsStarted,
    ToolCallsStopped,
    TurnCancelled,
    TurnCancelling,
    TurnCompleted,
    TurnEvent,
    TurnExpired,
    TurnFailed,
    TurnIncomplete,
    TurnRequeued,
    TurnStarted,
)
from app.engine.journal import LostRun
from app.engine.turn import Stamped
from tests.fakes.model import ScriptedModel, answer, text
from tests.integration.engine.rig import (
    EVENTS,
    MESSAGES,
    NEVER_S,
    RUNS,
    STEPS,
    THREADS,
    Accepted,
    Rig,
    assert_whole,
    engine,
    over,
    told,
)

pytestmark = pytest.mark.anyio

USAGE = TokenUsage(7, 2, 9)
ERROR = RunError("rate_limit_exceeded", "The model server is overloaded.")
OPENED = MessageStarted(at=20, step_id="step_1", message_id="msg_1")
TEXTS = [TextAdded(text="half "), TextAdded(text="an answer")]
CALLS: list[TurnEvent] = [
    ToolCallsStarted(at=20, step_id="step_1"),
    ToolCallAdded(index=0, id="call_1", name="look_up"),
    ArgumentsAdded(index=0, text='{"a":1}'),
]
CUT: dict[str, list[TurnEvent]] = {
    "failed": [MessageStopped(at=30, reason="run_failed", error=ERROR), TurnFailed(at=30, error=ERROR, usage=USAGE)],
    "expired": [MessageStopped(at=30, reason="run_expired"), TurnExpired(at=30, usage=USAGE)],
    "cancelled": [
        TurnCancelling(at=29),
        MessageStopped(at=30, reason="run_cancelled"),
        TurnCancelled(at=30, usage=USAGE),
    ],
    "incomplete": [
        MessageStopped(at=30, reason="max_tokens", usage=USAGE),
        TurnIncomplete(at=30, reason="max_completion_tokens", usage=USAGE),
    ],
}
STEP_ENDS = {"incomplete": "completed"}


async def write(rig: Rig, run: Accepted, *batches: Sequence[TurnEvent]) -> list[Stamped]:
    """Write batches, each in a transaction of its own; return all events of the run."""
    turn = run.turn()
    written = list(run.past)
    for batch in batches:
        stamped = turn.stamp(batch)
        await rig.journal.append(turn, stamped)
        written += stamped
    return written


def text_in(row: Any) -> str:
    [part] = json.loads(row.content)
    assert part["type"] == "text"
    return str(part["text"]["value"])


async def test_a_whole_answer_is_a_message_a_step_and_a_completed_run(database: Database) -> None:
    async with engine(database) as rig:
        run = await rig.accept()
        await write(
            rig,
            run,
            [TurnStarted(at=20)],
            [OPENED, *TEXTS],
            [MessageFinished(at=30, usage=USAGE), TurnCompleted(at=30, usage=USAGE)],
        )
        [message] = await rig.rows(MESSAGES, run)
        assert (message.status, message.role, text_in(message)) == ("completed", "assistant", "half an answer")
        assert (message.completed_at, message.incomplete_at, message.incomplete_reason) == (30, None, None)
        assert (message.position, message.assistant_id) == (2, rig.assistant_id)
        [step] = await rig.rows(STEPS, run)
        assert (step.status, step.ended_at, json.loads(step.usage)["total_tokens"]) == ("completed", 30, 9)
        assert json.loads(step.step_details)["message_creation"] == {"message_id": "msg_1"}
        row = await rig.run_row(run)
        assert (row.status, row.started_at, row.ended_at, row.last_error) == ("completed", 20, 30, None)
        assert json.loads(row.usage)["total_tokens"] == 9
        assert await rig.holder(run) is None


@pytest.mark.parametrize("texts", [TEXTS, []], ids=["in its answer", "before its answer"])
@pytest.mark.parametrize("end", CUT)
async def test_a_run_that_was_cut_short_keeps_what_was_said_and_nothing_of_nothing(
    database: Database, end: str, texts: list[TurnEvent]
) -> None:
    async with engine(database) as rig:
        run = await rig.accept(starts=True)
        await write(rig, run, [OPENED, *texts], CUT[end])
        messages = await rig.rows(MESSAGES, run)
        kept = [(message.status, message.incomplete_at, text_in(message)) for message in messages]
        assert kept == ([("incomplete", 30, "half an answer")] if texts else [])
        reason = CUT[end][-2]
        assert isinstance(reason, MessageStopped)
        assert [message.incomplete_reason for message in messages] == ([reason.reason] if texts else [])
        [step] = await rig.rows(STEPS, run)
        assert (step.status, step.ended_at) == (STEP_ENDS.get(end, end), 30)
        row = await rig.run_row(run)
        assert (row.status, row.ended_at, row.incomplete_reason) == (
            end,
            30,
            "max_completion_tokens" if end == "incomplete" else None,
        )
        errors = [json.loads(kept) if kept else None for kept in (row.last_error, step.last_error)]
        expected = {"code": "rate_limit_exceeded", "message": ERROR.message} if end == "failed" else None
        assert errors == [expected, expected]
        assert await rig.holder(run) is None


async def test_calls_wait_for_their_outputs_and_take_them(database: Database) -> None:
    async with engine(database) as rig:
        run = await rig.accept(starts=True)
        await write(rig, run, CALLS, [OutputsRequired(at=30, usage=USAGE)])
        row = await rig.run_row(run)
        assert (row.status, row.ended_at) == ("requires_action", None)
        [asked] = json.loads(row.required_action)["submit_tool_outputs"]["tool_calls"]
        assert (asked["id"], asked["function"]) == ("call_1", {"name": "look_up", "arguments": '{"a":1}'})
        assert await rig.holder(run) == run.spec.run_id
        outputs = OutputsSubmitted(at=40, outputs={"call_1": "found"})
        past = await rig.journal.events_after(run.spec.run_id, 0)
        await write(rig, Accepted(run.spec, past), [outputs])
        row = await rig.run_row(run)
        assert (row.status, row.required_action) == ("queued", None)
        [step] = await rig.rows(STEPS, run)
        assert (step.status, step.ended_at, json.loads(step.usage)["total_tokens"]) == ("completed", 40, 9)
        assert json.loads(step.step_details)["tool_calls"][0]["function"]["output"] == "found"


async def test_calls_that_were_cut_short_are_kept_with_their_step(database: Database) -> None:
    async with engine(database) as rig:
        run = await rig.accept(starts=True)
        end = [ToolCallsStopped(at=30, reason="run_failed", error=ERROR), TurnFailed(at=30, error=ERROR)]
        await write(rig, run, CALLS, end)
        [step] = await rig.rows(STEPS, run)
        assert step.status == "failed"
        [call] = json.loads(step.step_details)["tool_calls"]
        assert call["function"] == {"name": "look_up", "arguments": '{"a":1}', "output": None}
        assert await rig.holder(run) is None


async def test_an_attempt_that_was_given_up_leaves_only_its_events(database: Database) -> None:
    async with engine(database) as rig:
        run = await rig.accept(starts=True)
        written = await write(rig, run, [OPENED, *TEXTS], [TurnRequeued(at=30)])
        row = await rig.run_row(run)
        assert (row.status, row.started_at, row.ended_at) == ("queued", None, None)
        assert (await rig.rows(MESSAGES, run), await rig.rows(STEPS, run)) == ([], [])
        assert await rig.journal.events_after(run.spec.run_id, 0) == written
        assert await rig.holder(run) == run.spec.run_id


async def move_fence(rig: Rig, run: Accepted) -> None:
    moved = update(RUNS).where(RUNS.c.id == run.spec.run_id).values(fence=RUNS.c.fence + 1)
    await rig.database.write(lambda tx: tx.run(moved))


async def delete_thread(rig: Rig, run: Accepted) -> None:
    await rig.database.write(lambda tx: tx.run(delete(THREADS).where(THREADS.c.id == run.spec.thread_id)))


async def end_elsewhere(rig: Rig, run: Accepted) -> None:
    await write(rig, run, CUT["failed"])


LOSSES = {"its fence moved": move_fence, "its thread was deleted": delete_thread, "it has ended": end_elsewhere}
WRITES: dict[str, list[TurnEvent]] = {
    "text": [TextAdded(text="late")],
    "the end": [MessageFinished(at=30, usage=USAGE), TurnCompleted(at=30, usage=USAGE)],
    "another message": [MessageFinished(at=30, usage=USAGE), OPENED],
    "calls": [MessageFinished(at=30, usage=USAGE), *CALLS, OutputsRequired(at=30, usage=USAGE)],
    "giving up": [TurnRequeued(at=30)],
    "cancelling": [TurnCancelling(at=30)],
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_run_that_was_lost_writes_nothing(database: Database, loss: str) -> None:
    async with engine(database) as rig:
        run, other = await rig.accept(starts=True), await rig.accept(starts=True)
        opened = [MessageStarted(at=20, step_id="step_0", message_id="msg_0")]
        turn = run.turn()
        await rig.journal.append(turn, turn.stamp(opened))
        lived = await rig.journal.events_after(run.spec.run_id, 0)
        await LOSSES[loss](rig, Accepted(run.spec, lived))
        before = await rig.everything()
        for late in WRITES.values():
            turn = Accepted(run.spec, lived).turn()
            with pytest.raises(LostRun):
                await rig.journal.append(turn, turn.stamp(late))
            assert await rig.everything() == before
        turn, beside = Accepted(run.spec, lived).turn(), other.turn()
        batches = [(turn, turn.stamp(TEXTS)), (beside, beside.stamp([OPENED, *TEXTS]))]
        assert await rig.journal.append_together(batches) == {run.spec.run_id}
        assert len(await rig.rows(EVENTS, other)) == 2, "what was written beside it is kept"


async def test_events_come_back_from_any_number_on(database: Database) -> None:
    async with engine(database) as rig:
        run = await rig.accept(starts=True)
        batches = [[OPENED, TEXTS[0]], [TEXTS[1], *[TextAdded(text=str(n)) for n in range(5)]], CUT["failed"]]
        written = await write(rig, run, *batches)
        assert_whole(written)
        for seen in range(len(written) + 2):
            assert await rig.journal.events_after(run.spec.run_id, seen) == written[seen:]
        assert await rig.journal.events_after("run_unknown", 0) == []


async def test_a_short_answer_costs_two_commits(sqlite: SqliteDatabase) -> None:
    async with engine(sqlite, ScriptedModel(answer("hello", " there")), flush_s=NEVER_S) as rig:
        thread = await rig.thread()
        before = sqlite.commits
        run = await rig.run(thread)
        assert sqlite.commits - before == 2, "accepted and begun, ended"
        assert len(await rig.rows(EVENTS, run)) == 2


async def test_a_run_that_waits_for_a_slot_costs_one_commit_more(sqlite: SqliteDatabase) -> None:
    gate = asyncio.Event()
    model = ScriptedModel([gate, *answer("first")], answer("second"))
    async with engine(sqlite, model, flush_s=NEVER_S, concurrency=1) as rig:
        threads = [await rig.thread() for _ in range(2)]
        before = sqlite.commits
        started = [await rig.start(thread) for thread in threads]
        gate.set()
        for _, topic in started:
            await over(topic)
        assert sqlite.commits - before == 2 + 3


async def test_text_of_all_runs_is_flushed_together(sqlite: SqliteDatabase) -> None:
    begin, gate = asyncio.Event(), asyncio.Event()
    async with engine(sqlite, ScriptedModel([begin, text("half"), gate, *answer("")]), flush_s=0.2) as rig:
        runs = [await rig.start() for _ in range(8)]
        before = sqlite.commits
        begin.set()
        for _, topic in runs:
            await told(topic, TextAdded)
        async with asyncio.timeout(10):
            while [len(await rig.rows(EVENTS, run)) for run, _ in runs] != [2] * 8:
                await asyncio.sleep(0.01)
        assert sqlite.commits - before == 1
        gate.set()
